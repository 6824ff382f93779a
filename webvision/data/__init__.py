"""From a set to batches: lists, pictures, views, the loader, and the C code beneath. No TensorFlow."""

"""From the net to a clean folder: download, unpack, arrange, check. No TensorFlow."""

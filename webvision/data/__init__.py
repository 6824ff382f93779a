"""From a folder to batches: lists and index, balancing, image reading, augmentation, the loader."""

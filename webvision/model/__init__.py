"""From a batch to logits: the table of backbones, forward, precision, towers, weights from files."""

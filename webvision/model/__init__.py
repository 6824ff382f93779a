"""From a batch to logits and a loss: the table of backbones, the classifier, precision, towers, weights from files."""

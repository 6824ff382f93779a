"""From a batch to a loss: the classifier, shared layers, the table of backbones."""

"""From the net, or from any folder, to a clean set: download, arrange, check, shrink; demo draws a set. No
TensorFlow."""

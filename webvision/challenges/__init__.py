"""Other people's formats, one folder each, deletable with one command. No TensorFlow: they are given a function that
predicts."""

"""From a checkpoint to other formats: ONNX by a writer of our own, SavedModel, TFLite, int8; operators says what a chip
does not run. Every export is run against its original (parity) before it is called done."""

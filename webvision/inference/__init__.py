"""From a checkpoint to predictions: predictor, evaluate; provenance says what a checkpoint is of; own_model loads a
user's own."""

"""From a checkpoint to predictions: evaluate, predict, export."""

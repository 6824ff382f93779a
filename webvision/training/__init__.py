"""A training run: recipe, fit and its callbacks, checkpoints and resume, the trainer."""

"""Recipes, schedules, callbacks, checkpoints and resume, the trainers."""

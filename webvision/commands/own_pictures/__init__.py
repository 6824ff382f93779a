"""Somebody's own pictures, from their folder to a checked model: prepare, probe, fine-tune, judge.

Every stage is skipped when it is done.
"""

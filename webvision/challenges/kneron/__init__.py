"""Kneron's end-to-end evaluation: a folder of JSON predictions scored against ground truths."""

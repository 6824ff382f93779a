"""WebVision on CodaLab: the submission file, its check, and the way there from a prediction file."""

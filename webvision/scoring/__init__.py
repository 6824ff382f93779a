"""From predictions to numbers and files: predictions, metrics, submissions, report. No TensorFlow."""

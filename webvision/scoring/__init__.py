"""From predictions to numbers: prediction files, figures, the report. No TensorFlow."""

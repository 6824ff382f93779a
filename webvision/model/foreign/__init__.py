"""Other people's weights, read as data and never run: readers of their files, their names for our layers, and what
follows from where weights come from (padding, epsilon, how pixels are prepared)."""

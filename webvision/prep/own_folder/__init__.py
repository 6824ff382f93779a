"""From any folder of pictures to a data set: look, convert what is no plain picture, split by lists. The folder itself
is never changed."""

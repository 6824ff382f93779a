"""A small page on this machine: drop a picture, see what the network says of it and which region mattered."""

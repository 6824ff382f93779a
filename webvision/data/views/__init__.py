"""Which part of a picture, mirrored, recoloured how: numbers only.

augment for training, presets for evaluation; colour and placement are what they share with the C code.
"""

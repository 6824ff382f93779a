"""Bytes of a stranger in, pixels or a reason out: the security border.

headers reads sizes before anything is allocated, images decides what is accepted, decode chooses the decoder, resample
resizes.
"""

"""The parts that a recipe is made of: losses, mixing, neighbours, averages, optimisers, loss scale, margins.

Each is a pure function of arrays or tensors, or the state of one thing with its callback; a recipe's field turns it on.
"""

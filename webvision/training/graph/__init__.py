"""The step as a graph: input, replicas and their trainer, objective and learning (what a recipe adds), and that it is
placed where it was asked for, within the memory that there is.
"""

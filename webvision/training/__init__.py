"""A training run: fit is its way in, attempt one try at it, job what it is of, recipes what is trained.

graph has the step, state what is saved and found again, watching what a run tells, parts the pure functions of a
recipe, small_sets what few pictures want; callbacks and validation stand around the steps, fake times the step alone.
"""

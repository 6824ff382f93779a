"""What is wrong with a data set: lists, then pictures (scan, in a pool), then equal ones (same); findings keeps, report
tells, drawings shows."""

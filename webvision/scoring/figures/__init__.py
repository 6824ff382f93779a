"""Numbers of predictions, as pure functions of arrays: metrics, intervals, calibration; scorecard has them in one
place."""

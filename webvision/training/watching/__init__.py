"""What a run tells of itself: reports after an epoch, step_log between, run_log on the terminal, trace, histograms."""

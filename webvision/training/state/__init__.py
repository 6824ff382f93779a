"""What a run folder holds, and how it is trusted: checkpoints, run_folder, files (small JSON), rollback, stopping."""

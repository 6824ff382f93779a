"""What scripts import from `sotabencheval.utils`; nothing here uses the network."""

import os

from webvision.challenges.sotabench.evaluator import calculate_batch_hash as calculate_batch_hash
from webvision.challenges.sotabench.evaluator import is_server as is_server


def set_env_on_server(key, value):
    """Set an environment variable, on sotabench's server only."""
    if is_server():
        os.environ[key] = value


class AverageMeter:
    """The latest value, and the mean of all, each with its count."""

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget every value."""
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        """Take the mean `val` of `n` more values."""
        self.val, self.sum, self.count = val, self.sum + val * n, self.count + n
        self.avg = self.sum / self.count

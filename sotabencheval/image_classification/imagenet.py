"""The evaluator under the public package's module name."""

from webvision.challenges.sotabench.evaluator import ImageNetEvaluator as ImageNetEvaluator

"""`from sotabencheval.image_classification import ImageNetEvaluator`."""

from webvision.challenges.sotabench.evaluator import ImageNetEvaluator as ImageNetEvaluator

"""What is trained and for how long: the recipe, and the learning rate it prescribes.

The defaults are the recipe of the released WebVision checkpoints. An "epoch" is 1.28 million pictures, ImageNet's
size, as the step numbers in their names imply; it is not one pass over the (far longer) balanced list.
"""

from dataclasses import dataclass

CARD_EPOCHS = 110


@dataclass(frozen=True)
class Recipe:
    epochs: int = CARD_EPOCHS
    epoch_size: int = 1_280_000  # pictures
    batch: int = 256  # over all towers
    lr: float | None = None  # overrides the rate that follows from the batch
    lr_per_256: float = 0.1  # Goyal et al. 2017, sec. 2.1: linear in the batch; true division, small batches count too
    milestones: tuple = (
        30,
        60,
        90,
    )  # epochs of 110 after which the rate falls to a tenth; another --epochs scales them
    warmup_epochs: int = 3  # of 110, from 0.1 up, and only where the rate is above 0.1
    warmup_from: float = 0.1
    momentum: float = 0.9  # Nesterov
    weight_decay: float = 1e-4  # on convolution and linear weights, neither biases nor batch norm

    def __post_init__(self):
        for name in ("epochs", "epoch_size", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"the learning rate must be above 0, not {self.lr}")

    @property
    def base_lr(self):
        return self.lr if self.lr is not None else self.lr_per_256 * self.batch / 256

    @property
    def steps_per_epoch(self):
        return max(1, self.epoch_size // self.batch)

    @property
    def total_steps(self):
        return self.epochs * self.steps_per_epoch

    def learning_rate(self, epochs_done):
        """The rate after `epochs_done` whole epochs; it holds for the epoch that follows."""
        scale = self.epochs / CARD_EPOCHS
        warmup = self.warmup_epochs * scale
        if self.base_lr > self.warmup_from and epochs_done < warmup:
            return self.warmup_from + (self.base_lr - self.warmup_from) * epochs_done / warmup
        fallen = sum(epochs_done >= round(milestone * scale) for milestone in self.milestones)
        return self.base_lr * 0.1**fallen

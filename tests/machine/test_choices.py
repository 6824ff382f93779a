"""What `auto` means on the GPUs at hand."""

import pytest

from webvision.machine.choices import best_precision, largest_batch, xla_pays


@pytest.mark.parametrize(
    "capabilities, precision",
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)] * 4, "float16"),
        ([(7, 5)], "float16"),
        ([(8, 0)], "bfloat16"),
        ([(9, 0), (8, 9)], "bfloat16"),
        ([(9, 0), (7, 5)], "float16"),
    ],
)
def test_the_weakest_gpu_decides_on_the_precision(capabilities, precision):
    assert best_precision(capabilities) == precision


def test_xla_is_for_half_precision_on_gpus():
    assert xla_pays("bfloat16", on_gpu=True) and xla_pays("float16", on_gpu=True)
    assert not xla_pays("float32", on_gpu=True) and not xla_pays("bfloat16", on_gpu=False)


@pytest.mark.parametrize(
    "room, towers, batch", [(31, 1, None), (32, 1, 32), (100, 1, 96), (127, 4, 384), (128, 4, 512), (1 << 20, 2, 4096)]
)
def test_the_largest_batch_that_fits_is_found(room, towers, batch):
    tried = []

    def fits(total):
        tried.append(total)
        return total <= room * towers

    assert largest_batch(fits, towers=towers) == batch
    assert len(tried) == len(set(tried)) <= 9 and all(total % (8 * towers) == 0 for total in tried)

"""What the recipe draws: its distribution, its independence of grouping, and where crops lie."""

import numpy as np
import pytest

from webvision.data.views.augment import DRAWS, Augmentation, centre, draw
from webvision.data.views.colour import ORDERS
from webvision.data.views.placement import shrink_factor, shrink_region

RECIPE = Augmentation()
MANY = 20000


def test_numbers_belong_to_the_sample_not_to_the_batch():
    whole = draw(3, 0, 40)
    assert whole.shape == (40, DRAWS) and (whole >= 0).all() and (whole < 1).all()
    assert (np.concatenate([draw(3, 0, 7), draw(3, 7, 30), draw(3, 37, 3)]) == whole).all()
    assert not (draw(4, 0, 40) == whole).any()
    assert (draw(3, 10**12, 2) != draw(3, 10**12 + 2, 2)).all()


def test_numbers_are_uniform_and_independent():
    numbers = draw(1, 0, MANY)
    assert abs(numbers.mean() - 0.5) < 0.002
    assert np.abs(np.histogram(numbers[:, 0], 20, (0, 1))[0] / MANY - 0.05).max() < 0.008
    correlation = np.corrcoef(numbers.T) - np.eye(DRAWS)
    assert np.abs(correlation).max() < 0.04
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.03


def upstream_crops(width, height, count):
    """The rule of Szegedy et al. as upstream codes it, with an ordinary generator: areas and sides of accepted
    crops."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        for _ in range(10):
            area = generator.uniform(0.08, 1) * width * height
            aspect = generator.uniform(0.75, 1.333)
            wide, high = int(np.sqrt(area * aspect) + 0.5), int(np.sqrt(area / aspect) + 0.5)
            if generator.uniform() < 0.5:
                wide, high = high, wide
            if wide <= width and high <= height:
                yield wide, high
                break
        else:
            yield min(width, height), min(width, height)


@pytest.mark.parametrize("width, height", [(341, 256), (256, 256), (200, 500)])
def test_crops_are_distributed_as_upstreams(width, height):
    placed = RECIPE.plan(5, 0, MANY).place([width] * MANY, [height] * MANY)
    x, y, wide, high = placed[:, :4].T
    assert (x >= 0).all() and (y >= 0).all() and (x + wide <= width).all() and (y + high <= height).all()
    crops = placed[(placed[:, 4] == 224) & (placed[:, 5] == 224)]
    theirs = np.array(list(upstream_crops(width, height, MANY)))
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        for column in (0, 1):
            ours = np.quantile(crops[:, 2 + column], share)
            assert abs(ours - np.quantile(theirs[:, column], share)) <= 0.02 * max(width, height)
    # Every position, to the last column, and in the middle on average.
    assert (x + wide == width).any() and (x == 0).any()
    room = width - wide > 20
    assert abs((x[room] / (width - wide[room])).mean() - 0.5) < 0.01


def test_a_picture_too_narrow_for_a_crop_gets_the_centre():
    placed = RECIPE.plan(5, 0, 500).place([2000] * 500, [60] * 500)
    fallback = placed[placed[:, 5] != placed[:, 4]]
    assert len(fallback) > 100
    assert (fallback == np.array(centre(2000, 60, 224, 224))).all()
    assert centre(2000, 60, 224, 224) == (0, 0, 2000, 60, 7467, 224, 3621, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3)])
def test_tiny_pictures_have_crops(size):
    placed = RECIPE.plan(5, 0, 200).place([size[0]] * 200, [size[1]] * 200)
    assert (placed[:, 2:6] >= 1).all()
    assert (placed[:, 0] + placed[:, 2] <= size[0]).all() and (placed[:, 1] + placed[:, 3] <= size[1]).all()


def test_colours_are_drawn_as_the_recipe_says():
    drawn = RECIPE.colour_draws(draw(2, 0, MANY))
    for values, low, high in ((drawn.brightness, 0.6, 1.4), (drawn.contrast, 0.6, 1.4), (drawn.saturation, 0.6, 1.4)):
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high and abs(values.mean() - 1) < 0.01
    assert np.abs(np.bincount(drawn.order, minlength=24) / MANY - 1 / 24).max() < 0.006
    assert ORDERS.shape == (24, 4)
    assert np.abs(drawn.lighting.std(axis=0) - 0.1).max() < 0.003 and np.abs(drawn.lighting.mean(axis=0)).max() < 0.003
    assert np.abs(np.corrcoef(drawn.lighting.T) - np.eye(3)).max() < 0.03
    flips = RECIPE.plan(2, 0, MANY).flips
    assert abs(flips.mean() - 0.5) < 0.02


def test_variants():
    assert Augmentation(colours=False).plan(0, 0, 4).colours is None
    assert not Augmentation(flip=False).plan(0, 0, 400).flips.any()
    small = Augmentation(image_size=64).plan(0, 0, 4).place([100] * 4, [80] * 4)
    assert (small[:, 4:] == [64, 64, 0, 0]).all()
    for wrong in ({"image_size": 4}, {"tries": 0}, {"tries": 99}, {"area": (0.5, 0.1)}, {"brightness": (0, 1)}):
        with pytest.raises(ValueError):
            Augmentation(**wrong)


def test_shrinking_keeps_at_least_the_target():
    draws = np.random.default_rng(1)
    for _ in range(2000):
        picture = draws.integers(1, 4000, 2)
        region = [int(draws.integers(1, side + 1)) for side in picture]
        corner = [int(draws.integers(0, side - length + 1)) for side, length in zip(picture, region)]
        factor = shrink_factor(*region, 224, 224)
        assert factor == 1 or min(region) >= factor * 224
        x, y, width, height = shrink_region((*corner, *region), factor, picture)
        shrunk = [-(-side // factor) for side in picture]
        assert 0 <= x and 0 <= y and x + width <= shrunk[0] and y + height <= shrunk[1]
        if factor > 1:
            assert min(width, height) >= 224
            assert (
                abs(x * factor - corner[0]) <= factor
                and abs((x + width) * factor - corner[0] - region[0]) <= 1.5 * factor
            )
    assert shrink_factor(500, 500, 224, 224) == 2 and shrink_factor(447, 900, 224, 224) == 1

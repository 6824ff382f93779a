"""What a training needs, at sizes where the answer can be worked out by hand."""

import pytest

from webvision.commands import plan as command
from webvision.data.lists.scan import offset_dtype
from webvision.data.plan import MEMBER_BYTES, Load, Site, explain, list_bytes, plan, summing_seconds


def test_one_gpu_with_enough_of_everything_is_the_limit():
    found = plan(Load(3_600_000), Site(gpus=1, gpus_per_node=1, step_rate=1000, worker_us=500, cores_per_node=8))
    assert [limit.part for limit in found.limits] == ["GPUs", "loader cores", "hand-over"]
    assert found.rate == 1000 and found.epoch_hours == pytest.approx(1.0)
    assert found.cores_per_node == pytest.approx(1000 * 500e-6 * 1.25)
    assert found.read_per_node == pytest.approx(27e6) and found.sum_share == 0


@pytest.mark.parametrize(
    "site, part, rate",
    [
        (Site(gpus=8, cores_per_node=4, worker_us=400), "loader cores", 4 / 400e-6),
        (Site(gpus=8, hand_over_us=100), "hand-over", 1e4),
        (Site(gpus=64, storage=1e9), "storage", 1e9 / 27_000),
        (Site(gpus=64, link=1e9, storage=1e12), "GPUs", None),
    ],
)
def test_what_is_too_small_gives_out_first(site, part, rate):
    found = plan(Load(10**9), site)
    assert found.limits[0].part == part
    assert rate is None or found.rate == pytest.approx(rate)
    said = "\n".join(explain(Load(10**9), site, found))
    assert f"First gives out: {part}" in said and "1,000,000,000 pictures" in said


def test_gradients_go_around_the_ring_almost_twice():
    assert summing_seconds(Site(gpus=8)) == 0
    assert summing_seconds(Site(gpus=16, gradient_bytes=1e9, link=1e9)) == pytest.approx(1.0)
    assert summing_seconds(Site(gpus=8000, gradient_bytes=1e9, link=1e9)) == pytest.approx(1.998)
    slow, fast = (plan(Load(10**6), Site(gpus=16, link=link)) for link in (1e8, 1e12))
    assert slow.sum_share > 0.5 > 0.01 > fast.sum_share and slow.rate < fast.rate


@pytest.mark.parametrize("rows", [1, 126_322_567, 126_322_568, (1 << 32) - 2, (1 << 32) - 1])
def test_the_lists_bytes_are_those_of_its_index(rows):
    """34 bytes a line reach 4 GiB between the second and the third."""
    each = offset_dtype(34 * rows).itemsize + 2 + offset_dtype(rows).itemsize
    assert list_bytes(Load(rows)) == rows * (34 + each)


def test_what_a_member_takes_is_what_its_index_takes():
    from webvision.data.archives.walk import RECORD

    assert RECORD.itemsize + 8 / 32 <= MEMBER_BYTES <= RECORD.itemsize + 8 / 16 + 0.1


def test_the_command_prints_the_plan_and_takes_what_speed_measured(tmp_path, capsys):
    (tmp_path / "speed.json").write_text('{"worker": 250.0, "hand_over": 10.0, "rate": 7000.0}')
    command.main(["--pictures", "16e6", "--gpus", "4", "--speed", str(tmp_path / "speed.json"), "--cores", "2"])
    said = capsys.readouterr().out
    assert "16,000,000 pictures" in said and "First gives out: loader cores" in said
    assert f"up to {2 / 250e-6:,.0f} pictures/s" in said
    with pytest.raises(SystemExit):
        command.main(["--pictures", "0", "--gpus", "4"])

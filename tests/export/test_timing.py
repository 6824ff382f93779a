"""The table of what backbones cost: figures of this machine, and Kneron's as theirs."""

import itertools

from webvision.export import timing


def test_a_row_tells_cost_and_time_of_a_backbone():
    ticks = itertools.count()
    found = timing.time_backbone("FP_classifier", runs=3, clock=lambda: next(ticks))
    assert (found.tensorflow_ms, found.onnx_ms, found.int8_ms) == (1000, 1000, 1000)
    assert found.parameters == 1_266_938 and abs(found.megabytes - 5.07) < 0.05
    text = timing.line(found)
    assert len(text) == len(timing.HEADING) and text.endswith("323.5 / 3370") and "1,266,938" in text
    assert "published" in timing.HEADING

"""Exports answer as their original does, or are not written; and what is in an ONNX file."""

import json

import numpy as np
import onnx
import pytest

from tests.support.backbone_fixtures import seeded_pretrained
from webvision.data.views.presets import PRESETS
from webvision.errors import IncompleteError, UsageError
from webvision.export.formats import export_onnx, export_onnx_int8, export_savedmodel, export_tflite, metadata_of
from webvision.export.graph import freeze
from webvision.export.onnx_writer import Options, onnx_model
from webvision.export.operators import unsupported
from webvision.export.original import Original
from webvision.export.parity import compare

LABELS = [0, 1, 2, 3, 4, 5]


def pictures():
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (len(LABELS), 56, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def original():
    """FP_classifier on seeded weights: every kind of layer of a mobile network, 56 high and 32 wide."""
    found, network = seeded_pretrained("FP_classifier", "kneron")
    images = pictures()
    frozen = freeze(network, found.weights(network), PRESETS["kneron"])
    return Original(frozen, lambda: [images[:4], images[4:]], labels=LABELS)


@pytest.mark.parametrize("options", [Options(11), Options(13, None), Options(18, None, four_d=True)])
def test_onnx_answers_as_the_network_does_in_every_form(original, options, tmp_path):
    path = str(tmp_path / "model.onnx")
    product = export_onnx(original, path, options, metadata=metadata_of(original, names=["a", "b"]))
    assert product.parity.of_range < 1e-5 and product.parity.pictures == 6
    model = onnx.load(path)
    assert {node.op_type for node in model.graph.node} == {"Conv", "Clip", "Add", "GlobalAveragePool"} | (
        set() if options.four_d else {"Flatten", "Gemm"}
    )
    assert [len(values) for values in (model.graph.input, model.graph.output)] == [1, 1]
    assert model.graph.node[-1].output[0] == "logits" and model.opset_import[0].version == options.opset
    said = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert said["classes"] == ["a", "b"] and said["preset"]["scale"] == 256.0 and said["parity"]["same_top1"] == 1
    assert said["network"] == {
        "backbone": "FP_classifier", "num_classes": 11, "image_size": [56, 32], "padding": "symmetric"
    }  # fmt: skip


def test_onnx_can_take_the_pixels_themselves(original, tmp_path):
    product = export_onnx(original, str(tmp_path / "pixels.onnx"), Options(batch=None), preprocess=True)
    assert product.parity.of_range < 1e-5
    first = onnx.load(product.path).graph.input[0].type.tensor_type
    assert first.elem_type == onnx.TensorProto.UINT8


def test_an_export_that_answers_otherwise_is_not_written(original, tmp_path, monkeypatch):
    import webvision.export.onnx_writer as writer

    monkeypatch.setitem(writer._WRITERS, "Relu6", writer._WRITERS["Relu"])  # a clip at 6 that is forgotten
    with pytest.raises(IncompleteError, match="does not answer as the checkpoint does.*Nothing was written"):
        export_onnx(original, str(tmp_path / "model.onnx"), Options())
    assert not list(tmp_path.iterdir())


def test_tflite_and_savedmodel_answer_as_the_network_does(original, tmp_path):
    assert export_tflite(original, str(tmp_path / "model.tflite")).parity.of_range < 1e-5
    assert export_savedmodel(original, str(tmp_path / "saved")).parity.of_range < 1e-5
    with pytest.raises(UsageError, match="exists already"):
        export_savedmodel(original, str(tmp_path / "saved"))


def test_int8_says_what_it_costs_and_is_not_written_where_that_is_too_much(original, tmp_path):
    path = str(tmp_path / "model.onnx")
    product = export_onnx_int8(original, path, Options(), max_loss=1)
    assert product.bytes < 0.4 * 1_266_938 * 4
    assert product.accuracy[0] == original.accuracy() and "accuracy" in str(product)
    scales = [
        np.size(onnx.numpy_helper.to_array(c)) for c in onnx.load(path).graph.initializer if c.name.endswith("_scale")
    ]
    assert max(scales) > 100, "one scale for each channel"
    with pytest.raises(IncompleteError, match="int8 costs .* over --max-loss"):
        export_onnx_int8(original, str(tmp_path / "no.onnx"), Options(), max_loss=-1.01)
    assert not (tmp_path / "no.onnx").exists()


def test_a_chip_is_told_what_it_does_not_run(original):
    model = onnx_model(original.frozen, Options(11, four_d=True))
    assert unsupported(model, "kl520") == [] == unsupported(model, "kl720")
    node = next(node for node in model.graph.node if node.op_type == "Clip")
    node.op_type = "Sigmoid"
    del node.input[1:]
    assert unsupported(model, "kl520")[0].startswith("Sigmoid: not on this chip; 1 times")
    assert unsupported(model, "kl720") == []
    with pytest.raises(UsageError, match="chips in the table are kl520, kl720"):
        unsupported(model, "kl999")


def test_parity_sees_nan_and_another_best_class():
    zeros = np.zeros((2, 3))
    assert compare(np.eye(3)[:2], np.eye(3)[:2][::-1]).same_top1 == 0
    assert compare(np.eye(3)[:2], zeros * np.nan).of_range == np.inf
    assert compare(np.eye(3)[:2], np.eye(3)[:2]).largest_difference == 0


def test_opsets_that_are_not_written_are_refused():
    with pytest.raises(UsageError, match="outside 11..18"):
        Options(19)

"""The table of backbones; what a row costs and answers is in tests/data/backbones.json, from PyTorch's definitions.

One row of each family and naming here; all of them in `make test-backbones`.
"""

import pytest

from tests.support.backbone_fixtures import (
    REFERENCE,
    check_cost,
    check_logits,
    check_saving,
    check_training,
    reference_id,
)
from webvision.model.backbones import BACKBONES, Network, described_network, find_backbone, named_backbone

FAMILIES = {
    "resnet18 of torchvision or timm",
    "resnet18d of timm",
    "mobilenetv2 of torchvision",
    "FP_classifier of kneron",
    "efficientnet-lite1 of efficientnet-lite package",
    "efficientnet-b0-se of timm",
    "mobilenetv4-conv-small of timm",
    "regnetx-400mf of timm",
    "convnext-tiny of timm",
}


def test_a_name_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean efficientnet-b0"):
        find_backbone("EfficientNet_b0")
    with pytest.raises(ValueError, match="there are resnet18, resnet34"):
        Network("qqqqqq", 3)
    assert named_backbone("preact-d18") == named_backbone("preact18") == "preact18"


@pytest.mark.parametrize("name", BACKBONES)
def test_what_a_description_says_makes_the_same_network(name):
    for network in (Network(name, 7), Network(name, 7, 64, "symmetric", 0.002)):
        assert described_network(network.described()) == network


def test_a_description_holds_only_what_is_not_as_the_row_has_it():
    assert Network("se50", 3, 64).described() == {"mode": "se", "depth": 50, "num_classes": 3, "image_size": 64}
    assert Network("mobilenetv2", 3, padding="symmetric").described() == {
        "backbone": "mobilenetv2",
        "num_classes": 3,
        "image_size": 224,
        "padding": "symmetric",
    }
    assert Network("FP_classifier", 2).described()["image_size"] == [56, 32]


def test_every_row_costs_what_the_reference_counts():
    counted = {row["backbone"]: row for row in REFERENCE if row["parameters"]}
    for name, reference in counted.items():
        assert BACKBONES[name].parameters == reference["parameters"], name
        assert abs(BACKBONES[name].mmac - reference["mmac"]) <= 0.005, name
    own = {name for name in BACKBONES if name.startswith(("preact", "se")) or name.endswith("-v1")}
    assert set(BACKBONES) == set(counted) | own


@pytest.mark.parametrize("name", ["resnet18", "FP_classifier", "mobilenetv4-conv-small"])
def test_the_network_that_is_built_costs_what_its_row_says(name):
    check_cost(name)


@pytest.mark.parametrize("row", [row for row in REFERENCE if reference_id(row) in FAMILIES], ids=reference_id)
def test_logits_of_weights_from_elsewhere_are_those_of_the_sources_own_network(row):
    check_logits(row)


@pytest.mark.parametrize("name", ["efficientnet-b0-se", "regnetx-400mf", "convnext-tiny"])
def test_every_weight_is_trained(name):
    check_training(name)


def test_a_checkpoint_brings_a_network_back(tmp_path):
    check_saving("mobilenetv4-conv-small", tmp_path)

"""The table of backbones, row by row; what each costs and answers (tests/data/backbones.json) is the reference's."""

import pytest

from webvision.model.backbones import BACKBONES, Network, described_network, find_backbone, named_backbone


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

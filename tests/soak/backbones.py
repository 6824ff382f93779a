"""Every row of the table of backbones through everything that tests/model/test_backbones.py asks of some: minutes.

make test-backbones
"""

import pytest

from tests.support.backbone_fixtures import (
    REFERENCE,
    check_cost,
    check_export,
    check_logits,
    check_saving,
    check_training,
    reference_id,
)
from webvision.model.backbones import BACKBONES
from webvision.model.foreign.sources import sources_of


@pytest.mark.parametrize("name", BACKBONES)
def test_cost(name):
    check_cost(name)


@pytest.mark.parametrize("row", REFERENCE, ids=reference_id)
def test_logits(row):
    check_logits(row)


@pytest.mark.parametrize("name", BACKBONES)
def test_training(name):
    check_training(name)


@pytest.mark.parametrize("name", [name for name in BACKBONES if sources_of(name)])
def test_export(name, tmp_path):
    check_export(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in BACKBONES if sources_of(name)])
def test_saving(name, tmp_path):
    check_saving(name, tmp_path)

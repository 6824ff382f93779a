"""--config: a recipe from JSON, or from another run's run.json."""

import json

import pytest

from webvision.errors import DataError
from webvision.training.recipe_file import read_recipe
from webvision.training.recipes import CARD, WEB, with_settings


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def test_fields_that_are_not_named_stay(tmp_path):
    recipe = read_recipe(write(tmp_path / "c.json", {"epochs": 20, "lr": 1, "view": {"flip": False}}), WEB)
    assert (recipe.epochs, recipe.lr, recipe.view.flip) == (20, 1.0, False)
    assert (recipe.balance, recipe.view.area) == (WEB.balance, WEB.view.area)
    assert read_recipe(write(tmp_path / "c.json", {"recipe": {"milestones": [1, 2]}})).milestones == (1, 2)


def test_another_runs_description_gives_its_recipe(undisturbed, tmp_path):
    described = undisturbed.folder / "run.json"
    recipe = read_recipe(str(described))
    assert (recipe.epochs, recipe.batch, recipe.lr) == (2, 6, 0.05)
    import dataclasses

    assert json.loads(json.dumps(dataclasses.asdict(recipe))) == json.loads(described.read_text())["recipe"]
    for odd in (CARD, WEB, with_settings(CARD, ["view.area=0.5,1", "clip=2.5", "lr=0.3"])):
        path = write(tmp_path / "r.json", {"recipe": dataclasses.asdict(odd), "classes": ["a"]})
        assert read_recipe(path) == odd


@pytest.mark.parametrize(
    "value, words",
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([1], "an object with fields is needed"),
        ({"epoch": 3}, "no field 'epoch' (did you mean 'epochs'?)"),
        ({"view": {"flop": 1}}, "no field 'view.flop' (did you mean 'flip'?)"),
        ({"epochs": "20"}, 'epochs is "20"; int is needed, as 110'),
        ({"epochs": 2.5}, "epochs is 2.5; int"),
        ({"epochs": True}, "epochs is true; int"),
        ({"nesterov": 1}, "nesterov is 1; bool"),
        ({"milestones": ["a"]}, 'milestones is ["a"]; tuple'),
        ({"view": 3}, "view is 3; an object"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"momentum": None}, "momentum is null; float"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(value, words, tmp_path):
    path = write(tmp_path / "c.json", value)
    with pytest.raises(DataError) as raised:
        read_recipe(path)
    assert str(raised.value).startswith(path) and words in str(raised.value)


def test_flags_go_before_settings_and_those_before_the_file(tiny_data, tmp_path, capsys):
    from webvision.commands import train

    path = write(tmp_path / "c.json", {"epochs": 7, "momentum": 0.5, "clip": 3, "view": {"flip": False}})
    common = ["--data", str(tiny_data), "--gpu", "-1", "--recipe", "web", "--config", path]
    recipe = train.parse_args([*common, "--set", "momentum=0.25", "--set", "clip=2", "--epochs", "9"]).recipe
    assert (recipe.epochs, recipe.momentum, recipe.clip, recipe.view.flip) == (9, 0.25, 2, False)
    assert recipe.balance == WEB.balance and train.parse_args(common).recipe.epochs == 7
    write(tmp_path / "c.json", {"epoch": 7})
    with pytest.raises(DataError, match="did you mean 'epochs'"):
        train.parse_args(common)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="no such file; --config takes JSON"):
        read_recipe(str(tmp_path / "none.json"))

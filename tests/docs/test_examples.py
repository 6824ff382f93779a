"""The worked examples of docs/why/extend.md, run as they stand there; the network's is in tests/model."""

import pytest

from tests.support.documents import blocks
from webvision.errors import DataError
from webvision.scoring.predictions.file import PredictionWriter

PAGE = "docs/why/extend.md"


def example(name):
    """The names that an example defines."""
    (source,) = blocks(PAGE, "python", name)
    scope = {}
    exec(compile(source, f"{PAGE} ({name})", "exec"), scope)
    return scope


@pytest.mark.parametrize("name", ["metric", "view"])
def test_an_example_holds_what_it_asserts(name):
    assert "assert " in blocks(PAGE, "python", name)[0]
    example(name)


def test_the_format_writes_every_row_or_nothing(tmp_path):
    import numpy as np

    def predictions(path, problems):
        with PredictionWriter(path, {"classes": {"count": 9}}) as writer:
            writer.write(
                ["a b.jpg", "c.jpg"],
                [3, 0],
                np.array([[3, 1, 2, 0, 4], [5, 1, 2, 0, 4]]),
                np.full((2, 5), 0.2, "f"),
                problems=problems,
            )
        return path

    write_table = example("format")["write_table"]
    assert write_table(predictions(tmp_path / "p.json", None), tmp_path / "out.csv") == 2
    assert (tmp_path / "out.csv").read_text() == "id,label\na b.jpg,3\nc.jpg,5\n"
    with pytest.raises(DataError, match=r"row 2, c.jpg: empty; nothing was written"):
        write_table(predictions(tmp_path / "q.json", [None, "empty"]), tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_the_architecture_names_every_room_and_no_other():
    import os
    import re

    from tests.support.data_set import ROOT
    from tests.support.documents import text_of

    page = text_of("docs/why/architecture.md")
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", page, re.MULTILINE)
    named = {part.strip("/") for first, about in rows for part in re.findall(r"`(\w+(?:/\w+)*)/`", first + about)}
    package = os.path.join(ROOT, "webvision")
    rooms = {
        name
        for folder, names, _ in os.walk(package)
        for name in names
        if os.path.exists(os.path.join(folder, name, "__init__.py"))
    }
    missing = rooms - {part for name in named for part in name.split("/")}
    assert not missing and all(part in rooms for name in named for part in name.split("/")), missing

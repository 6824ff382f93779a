"""What mkdocs calls while it builds the site: pages, or parts of them, that come from the code."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from collections import defaultdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# I3, or a range: I1-I8
RANGE = re.compile(r"(?<![A-Za-z0-9])([BCDEGILMNOPRSTWXZ])(\d{1,2})(?:-\1(\d{1,2}))?(?![A-Za-z0-9])")


def on_page_markdown(markdown, page, **_):
    """The page's text, with its part from the code where it has one."""
    if ROOT not in sys.path:  # mkdocs takes off what a hook adds while it is loaded
        sys.path.insert(0, ROOT)
    made = {
        "reference/promises.md": with_tests,
        "reference/exit-codes.md": with_exit_codes,
        "reference/recipes.md": with_recipes,
        "reference/commands.md": with_commands,
    }
    return made.get(page.file.src_uri, str)(markdown)


# ---- commands


def with_commands(markdown):
    """`markdown`, the list of the commands, then every command's own help."""
    from webvision.__main__ import OTHERS, ROAD

    parts = [markdown]
    for title, commands in (
        ("In the order of the road", ROAD),
        ("Under names that others gave them, and parts", OTHERS),
    ):
        parts += [f"**{title}**", "", "| command | does |", "|---|---|"]
        parts += [f"| [`{name}`](#{name}) | {command.about} |" for name, command in commands.items()]
        parts.append("")
    for name in (*ROAD, *OTHERS):
        parts.append(f"## {name} {{ #{name} }}\n\n```text\n{help_of(name).rstrip()}\n```\n")
    return "\n".join(parts)


def help_of(command):
    """What `webvision COMMAND --help` prints."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            f"import sys; sys.path.insert(0, {ROOT!r}); from webvision.__main__ import main; main()",
        ]
        + [command, "--help"],
        env={**os.environ, "COLUMNS": "100"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise SystemExit(f"webvision {command} --help: {done.stderr}")
    return done.stdout


# ---- exit codes


def with_exit_codes(markdown):
    """`markdown`, whose table the errors' classes continue."""
    from webvision import errors

    kinds = [
        kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.WebvisionError)
    ]
    rows = {kind.exit_code: inspect.getdoc(kind) for kind in kinds if kind is not errors.WebvisionError}
    rows.pop(errors.WebvisionError.exit_code, None)
    rows[errors.DataError.exit_code] = inspect.getdoc(errors.DataError)
    lines = [f"| {code} | {' '.join(about.split())} |" for code, about in sorted(rows.items())]
    return "\n".join(
        [
            markdown.rstrip(),
            *lines,
            "| 128 + n | Ended by signal n; training has saved its state (`--requeue-code` chooses another code). |",
            "",
        ]
    )


# ---- recipes


def with_recipes(markdown):
    """`markdown`, the recipes by name with what differs from the first, and every field with its meaning."""
    from webvision.data.views.augment import Augmentation
    from webvision.training.recipes import RECIPES, Recipe

    parts = [markdown, "| recipe | differs from `card` in |", "|---|---|"]
    card = next(iter(RECIPES.values()))
    for recipe in RECIPES.values():
        differs = [
            f"`{field.name}={getattr(recipe, field.name)}`"
            for field in dataclasses.fields(recipe)
            if field.name != "name" and getattr(recipe, field.name) != getattr(card, field.name)
        ]
        parts.append(f"| `{recipe.name}` | {', '.join(differs) or 'nothing'} |")
    for title, kind in (("Fields", Recipe), ("Fields of `view`", Augmentation)):
        parts += ["", f"## {title}", "", "| field | default | meaning |", "|---|---|---|"]
        for name, default, about in fields_of(kind):
            parts.append(f"| `{name}` | `{default}` | {about} |")
    return "\n".join(parts)


def fields_of(kind):
    """(name, default, comment) of each field of a dataclass, comments from its source."""
    comments = dict(re.findall(r"^    (\w+): [^#\n]*(?:\([^#]*?)?#\s*(.*)$", inspect.getsource(kind), re.MULTILINE))
    for field in dataclasses.fields(kind):
        default = "see below" if dataclasses.is_dataclass(field.default) else field.default
        yield field.name, default, comments.get(field.name, "")


# ---- promises


def with_tests(markdown):
    """`markdown` with the column *held by* in every table of codes."""
    citing = cited_codes()
    lines = []
    for line in markdown.splitlines():
        code = re.match(r"\| ([A-Z]\d+) \|", line)
        if code:
            line += f" {', '.join(f'`{name}`' for name in sorted(citing[code[1]]))} |"
        elif line.startswith("| code |"):
            line += " held by |"
        elif line == "|---|---|---|":
            line += "---|"
        lines.append(line)
    return "\n".join(lines)


def cited_codes():
    """{code: {test files that cite it}}, from comments and names in tests/."""
    citing = defaultdict(set)
    for folder, _, names in os.walk(os.path.join(ROOT, "tests")):
        for name in names:
            if name.endswith(".py") and name != "test_promises.py":  # which tests this, by made-up citations
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    text = file.read()
                place = os.path.relpath(os.path.join(folder, name), os.path.join(ROOT, "tests"))
                for code in codes_in(text):
                    citing[code].add(place)
    return citing


def codes_in(source):
    """The codes that a test file cites: in names of tests (test_O1_...), and in comments and docstrings."""
    found = {code.upper() for code in re.findall(r"def test_([A-Za-z]\d+)_", source)}
    found |= set(re.findall(r"\"([A-Z]\d+)\"", source))  # of tables of cases
    for words in re.findall(r"#.*|\"\"\"(?:.|\n)*?\"\"\"", source):
        for letter, first, last in RANGE.findall(words):
            found |= {f"{letter}{number}" for number in range(int(first), int(last or first) + 1)}
    return found & promised()


def promised():
    """The codes in the key."""
    with open(os.path.join(ROOT, "docs", "reference", "promises.md"), encoding="utf-8") as file:
        return set(re.findall(r"^\| ([A-Z]\d+) \|", file.read(), re.MULTILINE))

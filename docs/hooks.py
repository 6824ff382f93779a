"""What mkdocs calls while it builds the site: pages, or parts of them, that come from the code."""

import os
import re
import sys
from collections import defaultdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

# I3, or a range: I1-I8
RANGE = re.compile(r"(?<![A-Za-z0-9])([BCDEGILMNOPRSTWXZ])(\d{1,2})(?:-\1(\d{1,2}))?(?![A-Za-z0-9])")


def on_page_markdown(markdown, page, **_):
    """The page's text, where one of them has a part from the code."""
    return with_tests(markdown) if page.file.src_uri == "reference/promises.md" else markdown


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
            if name.endswith(".py"):
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

"""The key to the codes: every code that a test cites is in it, and it promises nothing that no test holds."""

import importlib.util
import os
import re

from tests.support.data_set import ROOT

_spec = importlib.util.spec_from_file_location("docs_hooks", os.path.join(ROOT, "docs", "hooks.py"))
hooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hooks)


def test_no_promise_is_without_a_test():
    assert hooks.promised() - set(hooks.cited_codes()) == set()


def test_no_test_cites_a_code_that_is_not_in_the_key():
    named, folder = {}, os.path.join(ROOT, "tests")
    for base, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(base, name), encoding="utf-8") as file:
                    for code in re.findall(r"def test_([a-zA-Z]\d{1,2})_", file.read()):
                        named[code.upper()] = name
    assert set(named) - hooks.promised() == set(), named


def test_ranges_names_and_tables_are_citations():
    source = '"""L1, I1-I3 and X4: words."""\ndef test_d4_x(): pass  # W1\nCASES = ["Z7"]\n'
    assert hooks.codes_in(source) == {"L1", "I1", "I2", "I3", "X4", "D4", "W1", "Z7"}
    assert hooks.codes_in('name = "Tesla T4 in I3"  # TF2, E501\n') == set()


def test_the_page_says_which_tests_hold_a_promise():
    text = hooks.with_tests("| code | what happens | what holds |\n|---|---|---|\n| W1 | a | b |")
    assert text.splitlines()[0].endswith("| held by |") and "`loader/test_ring.py`" in text.splitlines()[2]

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.tools.file_list import list_files
from autoroute.tools.gitignore import match_rules, parse_rules
from tests.tools.conftest import Harness

NAMES = st.sampled_from(["a", "b", "foo", "foo.log", "x.py", ".hid", "é"])
FOLDERS = st.lists(st.sampled_from(["a", "d", "foo"]), max_size=3).map("/".join)
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "foo",
        "*",
        "**",
        "?",
        "*.log",
        "f*",
        "[ab]",
        "x.py",
        ".hid",
        "é",
        "[!a]",
        "[^a]",
        "\\a",
        "a ",
        "#",
        "f**o",
    ]
)
RULES = st.builds(
    lambda negation, start, pieces, end: negation + start + "/".join(pieces) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.tuples(FOLDERS, NAMES), min_size=1, max_size=12),
    rules=st.dictionaries(FOLDERS, st.lists(RULES, min_size=1, max_size=3), max_size=3),
)
def test_the_listed_files_are_those_that_git_would_add(
    files: list[tuple[str, str]], rules: dict[str, list[str]], harness: Harness
) -> None:
    shutil.rmtree(harness.root)
    harness.root.mkdir()
    subprocess.run(["git", "init", "-q", "--template=", "."], cwd=harness.root, check=True)
    for folder, name in files:
        path = harness.root / folder / name
        if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
            harness.put(f"{folder}/{name}".lstrip("/"), "x")
    for folder, lines in rules.items():
        if (harness.root / folder).is_dir():
            harness.put(f"{folder}/.gitignore".lstrip("/"), "\n".join(lines) + "\n")
    command = ["git", "-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=harness.root, capture_output=True, check=True).stdout
    expected = sorted(os.fsdecode(path) for path in listed.split(b"\0") if path)
    assert sorted(list_files(harness.context.files)) == expected


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("*a" * 100, "a" * 250 + "b"),
        ("[ab]*" * 60 + "c", "ab" * 125),
        ("**/a/" * 200 + "b", "a/" * 500 + "c"),
        ("a**" * 100, "a/" * 200 + "b"),
    ],
)
def test_no_rule_of_a_repository_takes_long(rule: str, path: str) -> None:
    started = time.process_time()
    assert not match_rules(parse_rules(rule.encode()), path.encode(), is_folder=False)
    assert time.process_time() - started < 1

from __future__ import annotations

import pytest

from tests.tools.conftest import Harness


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"glob": "*.py"}, ["src/app.py"]),
        ({"glob": "src/*"}, ["src/app.py", "src/app.ts"]),
        ({"glob": "**/*.csv"}, ["src/data/a.csv"]),
        ({"glob": "data/", "path": "src"}, ["src/data/.gitignore", "src/data/a.csv"]),
        ({"glob": "*.log"}, ["keep.log"]),
        ({"glob": "config"}, ["no files match the glob"]),
        ({"glob": "secret.py"}, ["no files match the glob"]),
    ],
)
def test_files_are_found_by_name(arguments: dict[str, str], expected: list[str], project: Harness) -> None:
    assert project.text("find", **arguments).splitlines() == expected


def test_many_files_are_bounded_and_counted(search_harness: Harness) -> None:
    for number in range(510):
        search_harness.put(f"{number:03}.txt", "")
    lines = search_harness.text("find", glob="*.txt").splitlines()
    assert lines[499:] == ["499.txt", "(10 more; narrow the glob)"]

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.tools.conftest import Harness


def test_matches_are_sorted_with_path_and_line(project: Harness) -> None:
    assert project.text("grep", pattern="run").splitlines() == [
        "-dash:1: run dash",
        ".github/ci.yml:1: run: tests",
        "keep.log:1: run kept",
        "latin.txt:1: run café",
        "src/app.py:1: def run():",
        "src/app.ts:1: run()",
        "src/data/a.csv:1: run,1",
        "wide.txt:1: run wide",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pattern": "RUN", "glob": "*.py"}, []),
        (
            {"pattern": "RUN", "glob": "*.py", "ignore_case": True},
            ["src/app.py:1: def run():", "src/app.py:5: def Run():"],
        ),
        ({"pattern": r"run\(\)$"}, ["src/app.ts:1: run()"]),
        (
            {"pattern": "run", "path": "src"},
            ["src/app.py:1: def run():", "src/app.ts:1: run()", "src/data/a.csv:1: run,1"],
        ),
        ({"pattern": "run", "path": "src", "glob": "*.{ts,csv}"}, ["src/app.ts:1: run()", "src/data/a.csv:1: run,1"]),
        ({"pattern": "run", "path": "src", "glob": "data/*"}, ["src/data/a.csv:1: run,1"]),
        ({"pattern": "run", "path": "debug.log"}, ["debug.log:1: run"]),
        ({"pattern": "run", "path": "image.bin"}, []),
        ({"pattern": "(?<=def )run"}, ["src/app.py:1: def run():"]),
        ({"pattern": "run caf"}, ["latin.txt:1: run café"]),
        ({"pattern": "secret"}, []),
    ],
)
def test_a_search_can_be_narrowed(arguments: dict[str, object], expected: list[str], project: Harness) -> None:
    lines = project.text("grep", **arguments).splitlines()
    assert lines == expected or (not expected and lines[0].startswith("no matches in "))


@pytest.mark.parametrize("pattern", ["(", "[", r"\p{L}", "a{2", "*a", "(?P<x", "a**", "x{999999999999}", "(?"])
def test_rg_and_python_explain_an_invalid_pattern_alike(pattern: str, harness: Harness, ripgrep: str) -> None:
    harness.put("a.txt", "a{2\n")
    ours, theirs = (replace(harness, ripgrep=path).call("grep", pattern=pattern).text for path in (None, ripgrep))
    assert ours == theirs
    assert ours.startswith(f"pattern: {pattern!r} is not a valid regular expression: ") or ours == "a.txt:1: a{2"


def test_an_invalid_pattern_is_explained_without_any_file(search_harness: Harness) -> None:
    assert "unterminated" in search_harness.error("grep", pattern="(")


def test_many_matches_are_bounded_and_counted(search_harness: Harness) -> None:
    search_harness.put("a.txt", "x\n" * 300)
    search_harness.put("b.txt", "x" * 900 + "\n")
    lines = search_harness.text("grep", pattern="x").splitlines()
    assert lines[199] == "a.txt:200: x"
    assert lines[200:] == ["(101 more; narrow the pattern, or give path or glob)"]
    assert search_harness.text("grep", pattern="x", path="b.txt") == "b.txt:1: " + "x" * 499 + "…"
    search_harness.put("a.txt", "x\n" * 100_000)
    assert search_harness.text("grep", pattern="x").splitlines()[200:] == [
        "(at least 1,800 more; narrow the pattern, or give path or glob)"
    ]


def test_huge_files_are_skipped(search_harness: Harness) -> None:
    with (search_harness.put("huge.txt", "needle\n")).open("r+b") as file:
        file.truncate(6 * 1024 * 1024)
    assert search_harness.text("grep", pattern="needle") == "no matches in 1 file"


def test_in_a_large_project_git_is_asked_which_files_need_a_search(harness: Harness) -> None:
    for number in range(1_100):
        harness.put(f"f{number}.txt", "needle\n")
    asked: list[Sequence[str]] = []

    def find_holders(words: Sequence[str]) -> Callable[[str], bool]:
        asked.append(words)
        return lambda path: path == "f7.txt"

    harness.find_holders = find_holders
    assert harness.text("grep", pattern="need(le|ed)") == "f7.txt:1: needle"
    assert asked == [("need",)]
    assert harness.text("grep", pattern="NEEDLE", ignore_case=True).startswith("f0.txt:1: needle")
    assert harness.text("grep", pattern=r"\bnothing") == "no matches in 1,100 files"

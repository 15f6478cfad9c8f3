from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoroute.tools.line_search import search_lines
from autoroute.tools.tool import ToolError
from tests.tools.conftest import Harness

TEXT = (
    "def run(self):\n\treturn self.x[0] + 1  # a-b_c\n\nfoo.bar(\"q\", 'r') {}\r\nFOO_2 = 3.14\n"
    "ſtrange Straße naïve\n  \t \n$price ^caret \\back /slash|pipe\nx" + "y" * 50 + "\nlast"
)
PATTERNS = [
    "run", "^def", "self.x", r"\d+", r"\w+_\w", r"\bfoo\b", "x|FOO", "(foo|bar)", "(?:foo)", "[a-c]-[a-c]", r"[\w.]+",
    r"[^\s\w]", "y{3,5}x?", "y+?$", "^$", r"^\s*$", r"\$price", r"\\back", "/slash", "a*", "[+-]", "[.]", r"\.bar\(",
    "{}", "x[0]", r"x\[0\]", "[[:alpha:]]", "[a&&b]", r"\<run", "(?i)FOO", r"(\w)\1", "naïve", "Straße",
    "STRASSE",     "last$", r"\{\}$", r"\S$", "y{60}", "a|", "(|b)", "[]a]", "x{,3}", "y++", r"\Aself", r"def\Z", "\t", "#", "-", " ",
    r"\s$", r"\W$", ".$", "[^x]$", r"\r", r"\s", r"\x41", r"\u00e9", r"\n", "a\nb",
]  # fmt: skip


def test_the_users_ripgrep_configuration_is_ignored(harness: Harness, ripgrep: str, tmp_path: Path) -> None:
    harness.put("a.txt", "run\n")
    config = tmp_path / "ripgreprc"
    config.write_text("--no-line-number\n--replace=gone\n")
    code = (
        "import sys; from pathlib import Path; from autoroute.tools.line_search import search_lines\n"
        "from autoroute.workspace.path_policy import PathPolicy; from autoroute.workspace.files import Files\n"
        "print(list(search_lines(Files(PathPolicy(Path(sys.argv[1]))), ['a.txt'], 'run', ignore_case=False, ripgrep=sys.argv[2])))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(harness.root), ripgrep],
        env={**os.environ, "RIPGREP_CONFIG_PATH": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[('a.txt', 1)]\n"


def test_python_searches_if_rg_fails(harness: Harness, tmp_path: Path) -> None:
    broken = tmp_path / "rg"
    broken.write_text("#!/bin/sh\necho unknown flag >&2\nexit 2\n")
    broken.chmod(0o755)
    harness.put("a.txt", "needle\n")
    with_broken_rg = replace(harness, ripgrep=str(broken))
    assert with_broken_rg.text("grep", pattern="needle") == "a.txt:1: needle"
    assert with_broken_rg.text("find", glob="*") == "a.txt"


def test_an_rg_with_a_relative_path_is_not_run(harness: Harness) -> None:
    harness.put("a.txt", "needle\n")
    assert replace(harness, ripgrep="./rg").text("grep", pattern="needle") == "a.txt:1: needle"


def test_many_files_are_all_searched(harness: Harness, engine: str | None) -> None:
    paths = [f"{'folder' * 30}/{'name' * 12}{number:04}.txt" for number in range(1_300)]
    for path in paths:
        harness.put(path, "needle\n")
    found = search_lines(harness.context.files, paths, "needle", ignore_case=False, ripgrep=engine)
    assert list(found) == [(path, 1) for path in paths]


def test_a_search_stops_at_its_time_limit(harness: Harness, engine: str | None) -> None:
    harness.put("a.txt", "a" * 60 + "!\n")
    started = time.monotonic()
    endless = search_lines(
        harness.context.files, ["a.txt"], r"(?=(a+)+$)a", ignore_case=False, ripgrep=engine, timeout_seconds=0.5
    )
    with pytest.raises(ToolError, match="the search timed out"):
        list(endless)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("pattern", "ignore_case"),
    [*((pattern, False) for pattern in PATTERNS), *((pattern, True) for pattern in PATTERNS if pattern.isalpha())],
)
def test_a_pattern_means_the_same_with_and_without_rg(
    pattern: str, ignore_case: bool, harness: Harness, ripgrep: str
) -> None:
    for path, encoding in (("a.txt", "utf-8"), ("b.txt", "utf-8-sig"), ("c.txt", "utf-16")):
        harness.put(path, TEXT.encode(encoding))
    paths = ["a.txt", "b.txt", "c.txt"]
    ours, theirs = (
        list(search_lines(harness.context.files, paths, pattern, ignore_case=ignore_case, ripgrep=engine))
        for engine in (None, ripgrep)
    )
    assert ours == theirs

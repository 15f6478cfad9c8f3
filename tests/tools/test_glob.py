from __future__ import annotations

import time

import pytest

from autoroute.tools.glob import parse_glob
from autoroute.tools.tool import ToolError

PATHS = [
    "a.py",
    "README",
    ".env",
    "src/a.py",
    "src/a.ts",
    "src/a.tsx",
    "src/x/y/b.py",
    "tests/test_a.py",
    "src[1]/a.py",
]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.py", ["a.py", "src/a.py", "src/x/y/b.py", "tests/test_a.py", "src[1]/a.py"]),
        ("a.py", ["a.py", "src/a.py", "src[1]/a.py"]),
        ("/a.py", ["a.py"]),
        ("./src/*.py", ["src/a.py"]),
        ("src/**", ["src/a.py", "src/a.ts", "src/a.tsx", "src/x/y/b.py"]),
        ("src/", ["src/a.py", "src/a.ts", "src/a.tsx", "src/x/y/b.py"]),
        ("src/**/*.py", ["src/a.py", "src/x/y/b.py"]),
        ("**/y/*", ["src/x/y/b.py"]),
        ("src/**/y/**/b.*", ["src/x/y/b.py"]),
        ("*.{ts,tsx}", ["src/a.ts", "src/a.tsx"]),
        ("{src,tests}/*a.{p{y,z},ts}", ["src/a.py", "src/a.ts", "tests/test_a.py"]),
        ("test_?.py", ["tests/test_a.py"]),
        ("[ab].py", ["a.py", "src/a.py", "src/x/y/b.py", "src[1]/a.py"]),
        ("[!a].py", ["src/x/y/b.py"]),
        ("src[[]1]/*", ["src[1]/a.py"]),
        (".*", [".env"]),
        ("readme", []),
        ("src", []),
        ("[", []),
        ("{a", []),
        ("*", PATHS),
        ("**", PATHS),
    ],
)
def test_a_pattern_matches_the_paths_that_people_expect(glob: str, expected: list[str]) -> None:
    pattern = parse_glob(glob)
    assert [path for path in PATHS if pattern.matches(path)] == expected


@pytest.mark.parametrize("glob", ["{a,b}" * 7, "{" * 20 + "a" + ",b}" * 20 + "{c,d}" * 3])
def test_the_number_of_alternatives_is_bounded(glob: str) -> None:
    with pytest.raises(ToolError, match="more than 64 alternatives"):
        parse_glob(glob)


@pytest.mark.parametrize(("glob", "path"), [("**/" * 300 + "x", "a/" * 500 + "b"), ("*a" * 100, "a" * 250 + "b")])
def test_no_glob_takes_long(glob: str, path: str) -> None:
    started = time.process_time()
    assert not parse_glob(glob).matches(path)
    assert time.process_time() - started < 1

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.workspace.path_policy import FileRefused, PathPolicy

ROOT = Path("/project")

INSIDE = {
    "a.txt": "a.txt",
    "./src/../src/a.txt": "src/a.txt",
    "src//a.txt/": "src/a.txt",
    "/project/src/a.txt": "src/a.txt",
    "//project/src": "src",
    ".": "",
    "": "",
    "src/..": "",
    "/project": "",
    "..a": "..a",
    "...": "...",
    ".gitignore": ".gitignore",
    ".github/ci.yml": ".github/ci.yml",
    "git/config": "git/config",
    "a.git": "a.git",
    "notes~1": "notes~1",
}
GITS = [
    *(".git", ".git/config", "src/.git/hooks/x", "src/../.git", "/project/.git/index", ".GIT/config", ".gIt"),
    *(
        ".ｇｉｔ/config",
        ".git./config",
        ".git ",
        ".git. . ",
        ".git::$INDEX_ALLOCATION/config",
        ".git:x",
        "git~1",
        "GIT~12",
    ),
    *(".g\u200cit", "\ufeff.git", ".git\u202e/config", ".g\u00adit", "a\\.git\\config", "․git"),
]


@pytest.mark.parametrize(("path", "relative"), INSIDE.items())
def test_a_path_inside_is_made_relative_to_the_root(path: str, relative: str) -> None:
    assert PathPolicy(ROOT).relative(path) == relative


@pytest.mark.parametrize(
    "path", ["..", "../x", "src/../../x", "/etc/passwd", "/project2/x", "/", "//etc", "/project/.."]
)
def test_a_path_outside_is_refused(path: str) -> None:
    with pytest.raises(FileRefused, match=f"^{path} is outside the project$"):
        PathPolicy(ROOT).relative(path)


@pytest.mark.parametrize("path", GITS)
def test_the_git_folder_is_refused_in_every_spelling(path: str) -> None:
    with pytest.raises(FileRefused, match=r"^\.git is not accessible to tools; use git commands in bash"):
        PathPolicy(ROOT).relative(path)


@pytest.mark.parametrize("path", ["a\0b", "\0", "../\0", "\ud800"])
def test_an_invalid_path_is_refused(path: str) -> None:
    with pytest.raises(FileRefused, match="a path cannot contain"):
        PathPolicy(ROOT).relative(path)


def test_more_names_can_be_protected() -> None:
    policy = PathPolicy(ROOT, frozenset({".git", ".envrc"}))
    assert policy.is_protected("a/.ENVRC")
    assert policy.is_protected("envrc~1")
    assert not policy.is_protected("a/envrc")


NAMES = st.one_of(
    st.sampled_from(["..", ".", "", "a", ".git", ".Git", "git~1", ".gi\u200dt", "a:b", "c\\d", " ", "…", "\udcff"]),
    st.text(max_size=6),
)
PATHS = st.builds(
    lambda start, names: start + "/".join(names), st.sampled_from(["", "/", "/project/"]), st.lists(NAMES, max_size=6)
)


@given(PATHS)
@settings(max_examples=500, deadline=None)
def test_every_accepted_path_is_inside_and_unprotected(path: str) -> None:
    policy = PathPolicy(ROOT)
    try:
        inside = policy.relative(path)
    except FileRefused:
        return
    assert not inside.startswith("/")
    assert ".." not in inside.split("/")
    assert ".git" not in inside.casefold().split("/")
    assert policy.relative(inside) == inside


PIECES = (["", ".", "\u200c.", "a\\."], ["g", "G", "ｇ"], ["", "\u202a"], ["i", "I", "ı"], ["", "\ufeff"], ["t", "T"])
ENDS = ["", " ", ".", ". .", "::$DATA", ":x", "\\x", "~1", "~2", "x", "hub"]
LIKE_GITS = st.builds("".join, st.tuples(*(st.sampled_from(some) for some in (*PIECES, ENDS))))


@given(name=LIKE_GITS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_name_that_git_refuses_is_refused(name: str, tmp_path: Path) -> None:
    index = {**os.environ, "GIT_INDEX_FILE": str(tmp_path / "index"), "GIT_DIR": str(tmp_path / "git")}
    if not (tmp_path / "git").exists():
        subprocess.run(["git", "init", "-q", "--bare", tmp_path / "git"], check=True)
    options = ["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
    entry = f"100644,{'0' * 39}1,{name}/x"
    added = subprocess.run(
        ["git", *options, "update-index", "--add", "--info-only", "--cacheinfo", entry],
        env=index,
        capture_output=True,
        check=False,
    )
    if added.returncode:
        assert PathPolicy(ROOT).is_protected(name)

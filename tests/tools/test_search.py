from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.tools.file_list import list_files
from autoroute.tools.search import search
from autoroute.tools.tool import ToolError
from autoroute.workspace.beneath import select_open_beneath
from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import PathPolicy
from tests.tools.conftest import Desk


@pytest.fixture
def project(search_desk: Desk) -> Desk:
    files: dict[str, str | bytes] = {
        ".gitignore": "*.log\n/build/\n!keep.log\n",
        ".github/ci.yml": "run: tests\n",
        ".git/config": "run: secret\n",
        "README.md": "Run the tests.\n",
        "build/out.py": "run()\n",
        "debug.log": "run\n",
        "keep.log": "run kept\n",
        "src/app.py": "def run():\n    return 1\n\n\ndef Run():\n    return 2\n",
        "src/app.ts": "run()\r\nend\r\n",
        "src/data/.gitignore": "*\n!.gitignore\n!*.csv\n",
        "src/data/a.csv": "run,1\n",
        "src/data/a.tmp": "run,1\n",
        "image.bin": b"run\nrun\0run\n",
        "latin.txt": b"run caf\xe9\n",
        "wide.txt": "run wide\n".encode("utf-16"),
        "-dash": "run dash\n",
    }
    for path, content in files.items():
        search_desk.put(path, content)
    outside = search_desk.root.parent / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("run secret\n")
    (search_desk.root / "link").symlink_to(outside)
    (search_desk.root / "link.py").symlink_to(outside / "secret.py")
    os.mkfifo(search_desk.root / "pipe")
    return search_desk


def test_matches_come_sorted_with_path_and_line(project: Desk) -> None:
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
def test_a_search_can_be_narrowed(arguments: dict[str, object], expected: list[str], project: Desk) -> None:
    lines = project.text("grep", **arguments).splitlines()
    assert lines == expected or (not expected and lines[0].startswith("no line matches"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"glob": "*.py"}, ["src/app.py"]),
        ({"glob": "src/*"}, ["src/app.py", "src/app.ts"]),
        ({"glob": "**/*.csv"}, ["src/data/a.csv"]),
        ({"glob": "data/", "path": "src"}, ["src/data/.gitignore", "src/data/a.csv"]),
        ({"glob": "*.log"}, ["keep.log"]),
        ({"glob": "config"}, ["no file has such a name"]),
        ({"glob": "secret.py"}, ["no file has such a name"]),
    ],
)
def test_files_are_found_by_name(arguments: dict[str, str], expected: list[str], project: Desk) -> None:
    assert project.text("find", **arguments).splitlines() == expected


@pytest.mark.parametrize(
    ("tool", "path", "refusal"),
    [
        ("grep", "nowhere", "there is nothing at nowhere"),
        ("find", "nowhere", "there is nothing at nowhere"),
        ("grep", "build", "build holds no files, or .gitignore leaves them out"),
        ("find", "build", "build holds no files, or .gitignore leaves them out"),
    ],
)
def test_a_place_with_nothing_to_search_is_said(tool: str, path: str, refusal: str, project: Desk) -> None:
    assert project.refusal(tool, **{"pattern" if tool == "grep" else "glob": "x", "path": path}) == refusal


@pytest.mark.parametrize("path", ["..", "/etc", "link", "link.py", ".git"])
@pytest.mark.parametrize("tool", ["grep", "find"])
def test_nothing_outside_the_workspace_is_searched(tool: str, path: str, project: Desk) -> None:
    outcome = project.call(
        tool, **{"pattern" if tool == "grep" else "glob": "*" if tool == "find" else "r", "path": path}
    )
    assert outcome.is_error


@pytest.mark.parametrize("pattern", ["(", "[", r"\p{L}", "a{2", "*a", "(?P<x", "a**", "x{999999999999}", "(?"])
def test_a_bad_pattern_is_explained_alike(pattern: str, desk: Desk, ripgrep: str) -> None:
    desk.put("a.txt", "a{2\n")
    ours, theirs = (replace(desk, ripgrep=path).call("grep", pattern=pattern).text for path in (None, ripgrep))
    assert ours == theirs
    assert ours.startswith(f"pattern: {pattern!r} is no regular expression: ") or ours == "a.txt:1: a{2"


def test_a_bad_pattern_is_explained_even_with_nothing_to_search(search_desk: Desk) -> None:
    assert "unterminated" in search_desk.refusal("grep", pattern="(")


def test_many_matches_are_bounded_and_counted(search_desk: Desk) -> None:
    search_desk.put("a.txt", "x\n" * 300)
    search_desk.put("b.txt", "x" * 900 + "\n")
    lines = search_desk.text("grep", pattern="x").splitlines()
    assert lines[199] == "a.txt:200: x"
    assert lines[200:] == ["(101 more; narrow the pattern, or give path or glob)"]
    assert search_desk.text("grep", pattern="x", path="b.txt") == "b.txt:1: " + "x" * 500
    search_desk.put("a.txt", "x\n" * 100_000)
    assert search_desk.text("grep", pattern="x").splitlines()[200:] == [
        "(at least 1,800 more; narrow the pattern, or give path or glob)"
    ]


def test_many_files_are_bounded_and_counted(search_desk: Desk) -> None:
    for number in range(510):
        search_desk.put(f"{number:03}.txt", "")
    lines = search_desk.text("find", glob="*.txt").splitlines()
    assert lines[499:] == ["499.txt", "(10 more; narrow the glob)"]


def test_a_users_own_settings_of_rg_do_not_matter(desk: Desk, ripgrep: str, tmp_path: Path) -> None:
    desk.put("a.txt", "run\n")
    config = tmp_path / "ripgreprc"
    config.write_text("--no-line-number\n--replace=gone\n")
    code = (
        "import sys; from pathlib import Path; from autoroute.tools.search import search\n"
        "from autoroute.workspace.path_policy import PathPolicy; from autoroute.workspace.files import Files\n"
        "print(list(search(Files(PathPolicy(Path(sys.argv[1]))), ['a.txt'], 'run', ignore_case=False, ripgrep=sys.argv[2])))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(desk.root), ripgrep],
        env={**os.environ, "RIPGREP_CONFIG_PATH": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[('a.txt', 1)]\n"


def test_an_rg_that_fails_is_no_reason_not_to_answer(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "rg"
    broken.write_text("#!/bin/sh\necho unknown flag >&2\nexit 2\n")
    broken.chmod(0o755)
    desk.put("a.txt", "needle\n")
    there = replace(desk, ripgrep=str(broken))
    assert there.text("grep", pattern="needle") == "a.txt:1: needle"
    assert there.text("find", glob="*") == "a.txt"


def test_an_rg_that_is_not_found_by_its_whole_path_is_not_run(desk: Desk) -> None:
    desk.put("a.txt", "needle\n")
    assert replace(desk, ripgrep="./rg").text("grep", pattern="needle") == "a.txt:1: needle"


def test_many_files_are_all_searched(desk: Desk, engine: str | None) -> None:
    paths = [f"{'folder' * 30}/{'name' * 12}{number:04}.txt" for number in range(1_300)]
    for path in paths:
        desk.put(path, "needle\n")
    found = search(desk.context.files, paths, "needle", ignore_case=False, ripgrep=engine)
    assert list(found) == [(path, 1) for path in paths]


def test_a_pattern_that_never_ends_is_stopped(desk: Desk, engine: str | None) -> None:
    desk.put("a.txt", "a" * 60 + "!\n")
    started = time.monotonic()
    endless = search(desk.context.files, ["a.txt"], r"(?=(a+)+$)a", ignore_case=False, ripgrep=engine, seconds=0.5)
    with pytest.raises(ToolError, match="the search took too long"):
        list(endless)
    assert time.monotonic() - started < 10


def test_huge_files_are_passed_over(search_desk: Desk) -> None:
    with (search_desk.put("huge.txt", "needle\n")).open("r+b") as file:
        file.truncate(6 * 1024 * 1024)
    assert search_desk.text("grep", pattern="needle") == "no line matches, in 1 file"


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


@pytest.mark.parametrize(
    ("pattern", "ignore_case"),
    [*((pattern, False) for pattern in PATTERNS), *((pattern, True) for pattern in PATTERNS if pattern.isalpha())],
)
def test_a_pattern_means_the_same_whatever_is_installed(
    pattern: str, ignore_case: bool, desk: Desk, ripgrep: str
) -> None:
    for path, encoding in (("a.txt", "utf-8"), ("b.txt", "utf-8-sig"), ("c.txt", "utf-16")):
        desk.put(path, TEXT.encode(encoding))
    paths = ["a.txt", "b.txt", "c.txt"]
    ours, theirs = (
        list(search(desk.context.files, paths, pattern, ignore_case=ignore_case, ripgrep=engine))
        for engine in (None, ripgrep)
    )
    assert ours == theirs


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
def test_the_files_that_are_listed_are_those_that_git_would_add(
    files: list[tuple[str, str]], rules: dict[str, list[str]], desk: Desk
) -> None:
    shutil.rmtree(desk.root)
    desk.root.mkdir()
    subprocess.run(["git", "init", "-q", "--template=", "."], cwd=desk.root, check=True)
    for folder, name in files:
        path = desk.root / folder / name
        if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
            desk.put(f"{folder}/{name}".lstrip("/"), "x")
    for folder, lines in rules.items():
        if (desk.root / folder).is_dir():
            desk.put(f"{folder}/.gitignore".lstrip("/"), "\n".join(lines) + "\n")
    command = ["git", "-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=desk.root, capture_output=True, check=True).stdout
    expected = sorted(os.fsdecode(path) for path in listed.split(b"\0") if path)
    assert sorted(list_files(desk.context.files)) == expected


@pytest.mark.parametrize("name", ["new\nline", "tab\t", "caf\udce9", " space ", "*?[", "é"])
def test_every_name_that_a_file_can_have_is_found(name: str, search_desk: Desk) -> None:
    search_desk.put(f"folder/{name}", "needle\n")
    assert list_files(search_desk.context.files) == [f"folder/{name}"]
    shown = name.replace("\udce9", "\ufffd")
    assert search_desk.text("find", glob="*") == f"folder/{shown}"
    if "\n" not in name:
        assert search_desk.text("grep", pattern="needle") == f"folder/{shown}:1: needle"


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
def test_rules_that_are_no_file_of_the_project_are_not_read(kind: str, desk: Desk) -> None:
    outside = desk.root.parent / "outside"
    outside.write_text("a.txt\n")
    desk.put("a.txt", "x")
    rules = desk.root / ".gitignore"
    if kind == "link":
        rules.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(rules)
    else:
        os.link(outside, rules)
    assert list_files(desk.context.files) == [".gitignore"] * (kind == "hard link") + ["a.txt"]


def test_a_folder_that_becomes_a_link_is_neither_listed_nor_searched(desk: Desk, engine: str | None) -> None:
    outside = desk.root.parent / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("needle\n")
    (outside / "key.txt").write_text("needle\n")
    desk.put("src/a.txt", "x\n")
    desk.put("b.txt", "needle\n")

    def open_too_late(folder: int, path: str, flags: int) -> int:
        if path.startswith("src") and not (desk.root / "moved").exists():
            (desk.root / "src").rename(desk.root / "moved")
            (desk.root / "src").symlink_to(outside)
        return select_open_beneath()(folder, path, flags)

    files = Files(PathPolicy(desk.root), open_too_late)
    assert list_files(files) == ["b.txt"]
    found = search(files, ["src/a.txt", "b.txt"], "needle", ignore_case=False, ripgrep=engine)
    assert list(found) == [("b.txt", 1)]


def test_listing_that_takes_too_long_is_stopped(desk: Desk) -> None:
    desk.put("a/b", "x")
    with pytest.raises(ToolError, match="listing the files took longer than 0 s"):
        list_files(desk.context.files, seconds=0)

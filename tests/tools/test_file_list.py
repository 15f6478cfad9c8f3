from __future__ import annotations

import itertools
import os

import pytest

from autoroute.tools.file_list import list_files
from autoroute.tools.line_search import search_lines
from autoroute.tools.tool import ToolError
from autoroute.workspace.beneath import select_open_beneath
from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import PathPolicy
from tests.tools.conftest import Harness


@pytest.mark.parametrize(
    ("tool", "path", "error"),
    [
        ("grep", "nowhere", "path not found: nowhere"),
        ("find", "nowhere", "path not found: nowhere"),
        ("grep", "build", "build contains no files, or .gitignore excludes them"),
        ("find", "build", "build contains no files, or .gitignore excludes them"),
    ],
)
def test_a_path_without_files_is_reported(tool: str, path: str, error: str, project: Harness) -> None:
    assert project.error(tool, **{"pattern" if tool == "grep" else "glob": "x", "path": path}) == error


@pytest.mark.parametrize("path", ["..", "/etc", "link", "link.py", ".git"])
@pytest.mark.parametrize("tool", ["grep", "find"])
def test_nothing_outside_the_workspace_is_searched(tool: str, path: str, project: Harness) -> None:
    outcome = project.call(
        tool, **{"pattern" if tool == "grep" else "glob": "*" if tool == "find" else "r", "path": path}
    )
    assert outcome.is_error


@pytest.mark.parametrize("name", ["new\nline", "tab\t", "caf\udce9", " space ", "*?[", "é"])
def test_any_valid_file_name_is_found(name: str, search_harness: Harness) -> None:
    search_harness.put(f"folder/{name}", "needle\n")
    assert list_files(search_harness.context.files) == [f"folder/{name}"]
    shown = name.replace("\udce9", "\ufffd")
    assert search_harness.text("find", glob="*") == f"folder/{shown}"
    if "\n" not in name:
        assert search_harness.text("grep", pattern="needle") == f"folder/{shown}:1: needle"


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
def test_a_gitignore_that_is_not_a_plain_file_of_the_project_is_not_read(kind: str, harness: Harness) -> None:
    outside = harness.root.parent / "outside"
    outside.write_text("a.txt\n")
    harness.put("a.txt", "x")
    rules = harness.root / ".gitignore"
    if kind == "link":
        rules.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(rules)
    else:
        os.link(outside, rules)
    assert list_files(harness.context.files) == [".gitignore"] * (kind == "hard link") + ["a.txt"]


def test_a_folder_replaced_by_a_link_is_neither_listed_nor_searched(harness: Harness, engine: str | None) -> None:
    outside = harness.root.parent / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("needle\n")
    (outside / "key.txt").write_text("needle\n")
    harness.put("src/a.txt", "x\n")
    harness.put("b.txt", "needle\n")

    def open_too_late(folder: int, path: str, flags: int) -> int:
        if path.startswith("src") and not (harness.root / "moved").exists():
            (harness.root / "src").rename(harness.root / "moved")
            (harness.root / "src").symlink_to(outside)
        return select_open_beneath()(folder, path, flags)

    files = Files(PathPolicy(harness.root), open_too_late)
    assert list_files(files) == ["b.txt"]
    found = search_lines(files, ["src/a.txt", "b.txt"], "needle", ignore_case=False, ripgrep=engine)
    assert list(found) == [("b.txt", 1)]


def test_listing_stops_at_its_time_limit_also_within_a_folder(harness: Harness) -> None:
    for number in range(50):
        harness.put(f"ignored{number}.log", "x")
    harness.put(".gitignore", "*.log\n")
    looks = itertools.count()
    with pytest.raises(ToolError, match="listing the files took longer than 10 s; list a folder with `bash`"):
        list_files(harness.context.files, timeout_seconds=10, now=lambda: float(next(looks)))
    assert next(looks) < 15


@pytest.mark.skipif(os.geteuid() == 0, reason="root enters every folder")
def test_a_folder_that_cannot_be_read_is_left_out(harness: Harness) -> None:
    harness.put("locked/a.txt", "x")
    harness.put("b.txt", "x")
    (harness.root / "locked").chmod(0)
    assert list_files(harness.context.files) == ["b.txt"]
    (harness.root / "locked").chmod(0o755)

"""The demo's repository and its script: a bug that its tests show, and a script that can be saved and loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoroute.demo.script import Script, ScriptExhausted
from autoroute.demo.story import make_project, story
from autoroute.errors import ConfigError


def test_the_project_is_a_clean_repository_with_a_bug_that_its_tests_show(tmp_path: Path) -> None:
    project = tmp_path / "project"
    make_project(project, os.environ["PATH"])

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout

    assert git("status", "--porcelain") == ""
    assert git("rev-list", "--count", "HEAD").strip() == "1"
    assert (project / "task.md").is_file()
    tests = subprocess.run([sys.executable, "-m", "unittest"], cwd=project, capture_output=True, text=True, check=False)
    assert tests.returncode != 0
    assert "FAILED" in tests.stderr


def test_a_saved_script_loads_as_the_same_script(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    story().dump(path)
    assert Script.load(path) == story()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"rules": [{}]}', '{"rules": [{"replies": {}}]}', "3"])
def test_an_invalid_script_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"script\.json: not a"):
        Script.load(path)


def test_the_same_conversation_gets_the_same_reply_and_a_longer_one_an_error() -> None:
    script = story()
    assert script.reply(("submit_plan",), "x", 0) == script.reply(("submit_plan",), "x", 0)
    with pytest.raises(ScriptExhausted, match="asked for one more"):
        script.reply(("submit_plan",), "x", 2)
    with pytest.raises(ScriptExhausted, match="no rule"):
        script.reply(("dance",), "x", 0)

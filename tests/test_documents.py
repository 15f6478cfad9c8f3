"""The documents say what the code does: their commands exist, their settings load, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import autoroute
from autoroute.claude.runner import TESTED_VERSION
from autoroute.cli.app import app
from autoroute.errors import ExitCode
from tests.config.desk import Desk

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: Any = typer.main.get_command(app)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Every command line of ours in a page: in a block, indented, or between back quotes."""
    pieces = [line for language in ("sh", "console") for block in blocks(text, language) for line in block.splitlines()]
    pieces += re.findall(r"^    (autoroute .*)$", text, re.MULTILINE)
    pieces += re.findall(r"`(autoroute [^`\n]+)`", text)
    pieces += re.findall(r"^ *- run: (autoroute .*)$", text, re.MULTILINE)
    for piece in pieces:
        for part in re.split(r"&&|;|\|(?!\w)", piece.strip()):
            words = shlex.split(part, comments=True)
            if words and words[0].rpartition("/")[2] == "autoroute" and len(words) > 1:
                yield words[1:]


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "examples").iterdir())], ids=lambda page: page.name)
def test_commands_and_flags_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words in commands(text):
        if words[0] in {"COMMAND", "--help", "--version"}:
            continue
        known = COMMANDS.commands
        assert words[0] in known, f"{page.name}: autoroute {' '.join(words)}"
        command = known[words[0]]
        if len(words) > 1 and hasattr(command, "commands"):
            command = command.commands[words[1]]
        flags = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= flags, f"{page.name}: autoroute {' '.join(words)}"


def test_settings_in_documents_load(desk: Desk) -> None:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "toml"):
            desk.user(block)
            assert desk.load().config.phases


def test_the_examples_load(desk: Desk) -> None:
    examples = ROOT / "examples"
    desk.project((examples / "autoroute.toml").read_text(encoding="utf-8"))
    (desk.folder / "repository/task.md").write_text((examples / "task.md").read_text(encoding="utf-8"))
    routes = {phase.value: routing.primary.name for phase, routing in desk.load().config.phases.items()}
    assert routes == {
        "spec": "anthropic/claude-opus-4-5",
        "planning": "anthropic/claude-opus-4-5",
        "coding": "anthropic/claude-sonnet-5-5",
        "qa": "openai/gpt-5.6-terra",
    }
    desk.user((examples / "ollama.toml").read_text(encoding="utf-8"))
    assert desk.load().config.clocks.first_byte == 600


def test_the_table_of_exit_codes_is_complete() -> None:
    table = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(ExitCode)


def test_the_version_stands_in_one_place_for_people_and_one_for_packaging() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == autoroute.__version__
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_of_claude_code_that_it_was_tried_with_is_the_same_everywhere() -> None:
    for page in (".ci/run", "docs/claude.md", "tests/claude/played.py"):
        assert TESTED_VERSION in (ROOT / page).read_text(encoding="utf-8"), page


def test_links_between_documents_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_has_the_two_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if line.startswith("```sh ")] == ["```sh demo", "```sh test"]

"""The documents say what the code does: their commands exist, their settings load, their links lead somewhere."""

from __future__ import annotations

import ast
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
from docs import generate, picture
from tests.config.desk import Desk

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks/README.md"]
GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]
WIDTH = 100
COMMANDS: Any = typer.main.get_command(app)
STRINGS = {
    node.value
    for path in (ROOT / "autoroute").rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page that are neither code nor a table, with their numbers; code between back quotes too."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "    ")):
            yield number, line


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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


@pytest.mark.parametrize("page", [*GUIDES, *sorted((ROOT / "examples").iterdir())], ids=name)
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
    for page in GUIDES:
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


@pytest.mark.parametrize("page", [*generate.PAGES, *generate.SCHEMAS])
def test_the_generated_pages_are_current(page: str) -> None:
    current = (generate.REFERENCE / page).read_text(encoding="utf-8")
    assert current == generate.render(page), "run: python -m docs.generate"


def test_the_table_of_exit_codes_is_complete() -> None:
    table = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(ExitCode)


@pytest.mark.parametrize("message", [row["text"] for row in generate.read_texts()["messages"]])
def test_the_messages_in_the_reference_are_those_of_the_code(message: str) -> None:
    """Each piece between two placeholders is in some string of the code."""
    for piece in re.split(r"\{\w+\}", message):
        assert any(piece in text for text in STRINGS), piece


def test_the_version_stands_in_one_place_for_people_and_one_for_packaging() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == autoroute.__version__
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_of_claude_code_that_it_was_tried_with_is_the_same_everywhere() -> None:
    for page in (".ci/run", "docs/guides/claude-subscription.md", "tests/claude/fake_claude.py"):
        assert TESTED_VERSION in (ROOT / page).read_text(encoding="utf-8"), page


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name(page)} links to {target}#{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in reached:
            reached.add(page)
            targets = re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text(encoding="utf-8"))
            waiting += [page.parent / target for target in targets]
    assert {page.resolve() for page in PAGES} <= reached | {(ROOT / "AGENTS.md").resolve()}


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_prose_is_wrapped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    long = [f"{name(page)}:{number}" for number, line in prose(text) if len(re.sub(r"\]\([^)]*\)", "]", line)) > WIDTH]
    assert long == []


@pytest.mark.parametrize("page", ["AGENTS.md", "CONTRIBUTING.md"])
def test_files_named_in_the_map_exist(page: str) -> None:
    """A path is written as it is from the root, or from ``autoroute/``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {
        path
        for path in re.findall(r"`([\w./-]+)`", text)
        if ("/" in path or re.search(r"\.(py|toml|md|lock)$", path)) and not path.startswith(".venv/")
    }
    missing = [path for path in named if not any((ROOT / base / path).exists() for base in ("", "autoroute"))]
    assert sorted(missing) == []


def test_the_map_names_every_folder() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "autoroute").glob("*/__init__.py")}
    assert sorted(folder for folder in folders if f"| `{folder}/` |" not in text) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_line_of_an_example_has_one_command(page: Path) -> None:
    """Wrapping a page at 100 columns must not join the lines of an example."""
    begins = re.compile(rf"(?:^|\s)(?:autoroute (?:{'|'.join(COMMANDS.commands)})\b|\.venv/bin/)")
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("    ") and begins.match(line.strip()):
            code = line.partition(" #")
            parts = [part for part in code[0].split("&&") if part.strip()]
            assert all(len(begins.findall(part)) == 1 for part in parts), line
            assert not re.search(r"#.*?\.venv/bin/|  # .*\bautoroute [a-z]+ +(?:-|#|[A-Z])", line), line


def test_an_entry_of_the_changelog_is_one_short_line() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 or line.startswith("  ")] == []


def test_pages_that_the_code_names_exist() -> None:
    for path in [*sorted((ROOT / "autoroute").rglob("*.py")), ROOT / "config.example.toml"]:
        for page in re.findall(r"(?<![\w/])docs/[\w/.-]+\.md\b", path.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{name(path)} names {page}"


def test_python_in_documents_compiles_and_uses_what_there_is() -> None:
    for page in GUIDES:
        for block in blocks(page.read_text(encoding="utf-8"), "python"):
            for node in ast.walk(ast.parse(block)):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "autoroute"
                ):
                    assert hasattr(autoroute, node.attr), f"{name(page)} uses autoroute.{node.attr}"


def test_readme_has_the_two_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if line.startswith("```sh ")] == ["```sh demo", "```sh test"]


def texts(svg: str) -> list[str]:
    """Return the words of a picture, without times and counts."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    # Token counts differ from run to run: the output of tests, which models read, says how long they took.
    return [re.sub(r"\d+(?:[.:]\d+)?k?", "0", text) for text in found]


def test_the_picture_in_the_readme_is_what_the_live_screen_shows(tmp_path: Path) -> None:
    drawn = picture.draw_picture(picture.play_demo(tmp_path / "demo"))
    assert texts(drawn) == texts(picture.PICTURE.read_text(encoding="utf-8")), "run: python -m docs.picture"

"""Calls that had begun when autoroute was killed, over the whole table: nothing is done twice, nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from autoroute.events import Intent
from autoroute.tools import _TOOLS
from tests.tools.conftest import Harness
from tests.tools.test_toolbox import least, schema_of

TOOLS = list(_TOOLS)
CONTENT = "a\n"
MORE = {"edit": {"new": "b"}, "write": {"content": "c\n"}}
"""What the least of a tool's arguments lacks to change the file ``a``."""


def arguments_of(name: str) -> dict[str, Any]:
    return {**least(schema_of(name)), **MORE.get(name, {})}


def files(harness: Harness) -> dict[str, bytes]:
    return {
        str(path.relative_to(harness.root)): path.read_bytes() for path in harness.root.rglob("*") if path.is_file()
    }


@pytest.fixture
def interrupted(harness: Harness) -> Harness:
    harness.put("a", CONTENT)
    return harness


@pytest.mark.parametrize("name", TOOLS)
def test_only_calls_without_an_intent_that_may_change_files_need_a_checkpoint(name: str, interrupted: Harness) -> None:
    prepared = interrupted.prepare(name, arguments_of(name))
    assert not prepared.run().is_error
    assert prepared.needs_checkpoint is (not _TOOLS[name].repeatable)
    assert not (prepared.needs_checkpoint and (prepared.read_only or prepared.intent))
    assert not interrupted.prepare(name, "{").needs_checkpoint


@pytest.mark.parametrize("name", TOOLS)
def test_a_call_interrupted_before_its_effect_is_done_once(name: str, interrupted: Harness) -> None:
    arguments = arguments_of(name)
    intended = interrupted.prepare(name, arguments)
    prepared_again = interrupted.prepare_interrupted(name, arguments, intended.intent)
    assert files(interrupted) == {"a": CONTENT.encode()}
    assert (prepared_again.summary, prepared_again.read_only) == (intended.summary, intended.read_only)
    outcome = prepared_again.run()
    if intended.needs_checkpoint:
        assert outcome.is_error
        assert interrupted.shell.asked == []
    else:
        assert prepared_again.intent == intended.intent
        before = files(interrupted)
        interrupted.put("a", CONTENT)
        assert outcome == interrupted.prepare(name, arguments).run()
        assert before == files(interrupted)


@pytest.mark.parametrize("name", TOOLS)
def test_a_call_interrupted_after_its_effect_is_not_done_again(name: str, interrupted: Harness) -> None:
    arguments = arguments_of(name)
    prepared = interrupted.prepare(name, arguments)
    result = prepared.run()
    before, asked = files(interrupted), list(interrupted.shell.asked)
    prepared_again = interrupted.prepare_interrupted(name, arguments, prepared.intent)
    outcome = prepared_again.run()
    assert (files(interrupted), interrupted.shell.asked) == (before, asked)
    assert (prepared_again.summary, prepared_again.read_only) == (prepared.summary, prepared.read_only)
    if prepared.intent:
        assert outcome.text == f"{result.text.split()[0]} a (just before autoroute was interrupted)"
        assert not outcome.is_error
    elif not prepared.needs_checkpoint:
        assert outcome == result


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("text", ["", "{}", "{", '{"zzz": 1}'])
def test_an_invalid_call_is_refused_again_with_the_same_message(name: str, text: str, interrupted: Harness) -> None:
    assert interrupted.prepare_interrupted(name, text, None).run() == interrupted.prepare(name, text).run()


def replaced(harness: Harness) -> None:
    harness.put("a", "something else\n")


def removed(harness: Harness) -> None:
    (harness.root / "a").unlink()


def linked(harness: Harness) -> None:
    removed(harness)
    (harness.root / "a").symlink_to("/etc/hostname")


def made_a_folder(harness: Harness) -> None:
    removed(harness)
    (harness.root / "a").mkdir()


def made_a_pipe(harness: Harness) -> None:
    removed(harness)
    os.mkfifo(harness.root / "a")


CHANGED = "a: something else changed this file while autoroute was interrupted; re-read it"


@pytest.mark.parametrize("name", ["write", "edit"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (replaced, CHANGED),
        (removed, CHANGED),
        (
            linked,
            "a is a symbolic link to /etc/hostname, and tools do not follow links; use the path that it leads to, if that is in the project",
        ),
        (made_a_folder, "a is a folder"),
        (made_a_pipe, "a is not a regular file"),
    ],
)
def test_a_file_that_something_else_changed_is_left_unchanged(
    name: str, change: Callable[[Harness], None], text: str, interrupted: Harness
) -> None:
    arguments = arguments_of(name)
    intent = interrupted.prepare(name, arguments).intent
    change(interrupted)
    before = files(interrupted)
    prepared_again = interrupted.prepare_interrupted(name, arguments, intent)
    assert (prepared_again.run().text, prepared_again.run().is_error, prepared_again.intent) == (text, True, None)
    assert files(interrupted) == before


def test_a_new_file_is_created_unless_it_was_created_before(harness: Harness) -> None:
    arguments = {"path": "deep/er/new.txt", "content": "new\n"}
    intent = harness.prepare("write", arguments).intent
    (harness.root / "deep").mkdir()
    assert harness.prepare_interrupted("write", arguments, intent).run().text == "created deep/er/new.txt (1 line)"
    outcome = harness.prepare_interrupted("write", arguments, intent).run()
    assert (outcome.text, outcome.is_error) == (
        "created deep/er/new.txt (just before autoroute was interrupted)",
        False,
    )


def test_a_write_that_changes_nothing_is_written_again(harness: Harness) -> None:
    harness.put("a", CONTENT)
    arguments = {"path": "a", "content": CONTENT}
    intent = harness.prepare("write", arguments).intent
    assert harness.prepare_interrupted("write", arguments, intent).run().text == "a is unchanged (1 line)"


def test_an_interrupted_command_is_not_run_again_and_the_model_is_told(harness: Harness) -> None:
    prepared_again = harness.prepare_interrupted("bash", {"command": "make deploy"}, None)
    assert prepared_again.summary == "bash make deploy"
    assert not prepared_again.needs_checkpoint
    assert prepared_again.run().text == (
        "autoroute was stopped during this command, so it was not run again; the files are as they were before it"
    )
    assert prepared_again.run().is_error
    assert harness.shell.asked == []


def test_a_tool_that_no_longer_exists_is_refused(harness: Harness) -> None:
    intent = Intent(path="a", before="", after="0" * 64)
    outcome = harness.prepare_interrupted("str_replace", {}, intent).run()
    assert outcome.is_error
    assert outcome.text.startswith("unknown tool 'str_replace'")

"""Calls that had begun when autoroute was killed, over the whole table: nothing is done twice, nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from autoroute.events import Intent
from autoroute.tools import _TOOLS
from tests.tools.conftest import Desk
from tests.tools.test_toolbox import least, schema_of

TOOLS = list(_TOOLS)
CONTENT = "a\n"
MORE = {"edit": {"new": "b"}, "write": {"content": "c\n"}}
"""What the least of a tool's arguments lacks to change the file ``a``."""


def arguments_of(name: str) -> dict[str, Any]:
    return {**least(schema_of(name)), **MORE.get(name, {})}


def files(desk: Desk) -> dict[str, bytes]:
    return {str(path.relative_to(desk.root)): path.read_bytes() for path in desk.root.rglob("*") if path.is_file()}


@pytest.fixture
def cut(desk: Desk) -> Desk:
    desk.put("a", CONTENT)
    return desk


@pytest.mark.parametrize("name", TOOLS)
def test_only_what_no_hash_can_undo_asks_for_a_checkpoint(name: str, cut: Desk) -> None:
    prepared = cut.prepare(name, arguments_of(name))
    assert not prepared.run().is_error
    assert prepared.needs_checkpoint is (not _TOOLS[name].repeatable)
    assert not (prepared.needs_checkpoint and (prepared.read_only or prepared.intent))
    assert not cut.prepare(name, "{").needs_checkpoint


@pytest.mark.parametrize("name", TOOLS)
def test_cut_off_before_its_effect_it_is_done_once(name: str, cut: Desk) -> None:
    arguments = arguments_of(name)
    intended = cut.prepare(name, arguments)
    picked_up = cut.prepare_interrupted(name, arguments, intended.intent)
    assert files(cut) == {"a": CONTENT.encode()}
    assert (picked_up.summary, picked_up.read_only) == (intended.summary, intended.read_only)
    outcome = picked_up.run()
    if intended.needs_checkpoint:
        assert outcome.is_error
        assert cut.shell.asked == []
    else:
        assert picked_up.intent == intended.intent
        there = files(cut)
        cut.put("a", CONTENT)
        assert outcome == cut.prepare(name, arguments).run()
        assert there == files(cut)


@pytest.mark.parametrize("name", TOOLS)
def test_cut_off_after_its_effect_it_is_not_done_again(name: str, cut: Desk) -> None:
    arguments = arguments_of(name)
    prepared = cut.prepare(name, arguments)
    result = prepared.run()
    there, asked = files(cut), list(cut.shell.asked)
    picked_up = cut.prepare_interrupted(name, arguments, prepared.intent)
    outcome = picked_up.run()
    assert (files(cut), cut.shell.asked) == (there, asked)
    assert (picked_up.summary, picked_up.read_only) == (prepared.summary, prepared.read_only)
    if prepared.intent:
        assert outcome.text == f"{result.text.split()[0]} a (done just before an interruption)"
        assert not outcome.is_error
    elif not prepared.needs_checkpoint:
        assert outcome == result


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("text", ["", "{}", "{", '{"zzz": 1}'])
def test_a_call_that_was_refused_is_refused_again_in_the_same_words(name: str, text: str, cut: Desk) -> None:
    assert cut.prepare_interrupted(name, text, None).run() == cut.prepare(name, text).run()


def replaced(desk: Desk) -> None:
    desk.put("a", "something else\n")


def removed(desk: Desk) -> None:
    (desk.root / "a").unlink()


def linked(desk: Desk) -> None:
    removed(desk)
    (desk.root / "a").symlink_to("/etc/hostname")


def made_a_folder(desk: Desk) -> None:
    removed(desk)
    (desk.root / "a").mkdir()


def made_a_pipe(desk: Desk) -> None:
    removed(desk)
    os.mkfifo(desk.root / "a")


CHANGED = "a: the file was changed by something else while autoroute was interrupted; read it again"


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
def test_what_something_else_changed_is_left_as_it_is(
    name: str, change: Callable[[Desk], None], text: str, cut: Desk
) -> None:
    arguments = arguments_of(name)
    intent = cut.prepare(name, arguments).intent
    change(cut)
    there = files(cut)
    picked_up = cut.prepare_interrupted(name, arguments, intent)
    assert (picked_up.run().text, picked_up.run().is_error, picked_up.intent) == (text, True, None)
    assert files(cut) == there


def test_a_new_file_is_created_unless_it_was(desk: Desk) -> None:
    arguments = {"path": "deep/er/new.txt", "content": "new\n"}
    intent = desk.prepare("write", arguments).intent
    (desk.root / "deep").mkdir()
    assert desk.prepare_interrupted("write", arguments, intent).run().text == "created deep/er/new.txt (1 line)"
    outcome = desk.prepare_interrupted("write", arguments, intent).run()
    assert (outcome.text, outcome.is_error) == ("created deep/er/new.txt (done just before an interruption)", False)


def test_a_write_that_changes_nothing_is_written_again(desk: Desk) -> None:
    desk.put("a", CONTENT)
    arguments = {"path": "a", "content": CONTENT}
    intent = desk.prepare("write", arguments).intent
    assert desk.prepare_interrupted("write", arguments, intent).run().text == "a is unchanged (1 line)"


def test_a_command_is_not_run_again_and_the_model_is_told(desk: Desk) -> None:
    picked_up = desk.prepare_interrupted("bash", {"command": "make deploy"}, None)
    assert picked_up.summary == "bash make deploy"
    assert not picked_up.needs_checkpoint
    assert picked_up.run().text == (
        "this command was interrupted when autoroute was stopped, and was not run again; "
        "the files are as they were before it"
    )
    assert picked_up.run().is_error
    assert desk.shell.asked == []


def test_a_tool_that_there_is_no_longer_is_refused(desk: Desk) -> None:
    intent = Intent(path="a", before="", after="0" * 64)
    outcome = desk.prepare_interrupted("str_replace", {}, intent).run()
    assert outcome.is_error
    assert outcome.text.startswith("there is no tool 'str_replace'")

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from autoroute.errors import Cancelled, WorkspaceError
from autoroute.workspace import CommandResult
from tests.tools.conftest import Desk, Shell


def test_a_command_runs_at_the_root_with_the_default_time_and_a_log_of_its_own(desk: Desk) -> None:
    assert desk.text("bash", command="make test") == "hello\n(exit code 0)"
    desk.text("bash", command="make test", timeout="90")
    (first, second) = desk.shell.asked
    assert first[:3] == ("make test", 60.0, desk.root)
    assert second[:3] == ("make test", 90, desk.root)
    assert first[3].parent == second[3].parent == desk.context.logs
    assert first[3] != second[3]


@pytest.mark.parametrize(
    ("result", "text", "is_error"),
    [
        (CommandResult(0, "", 0.1), "(no output)\n(exit code 0)", False),
        (CommandResult(3, "boom\n\n", 0.1), "boom\n(exit code 3)", True),
        (
            CommandResult(None, "half", 60.0),
            "half\n(not finished after 60 s: it was stopped, with all that it had started)",
            True,
        ),
        (
            CommandResult(0, "head … tail", 1.0, Path("/run/logs/x.log")),
            "head … tail\n(exit code 0; the output was cut, the whole of it is kept for the user)",
            False,
        ),
    ],
)
def test_the_ending_is_told(result: CommandResult, text: str, is_error: bool, desk: Desk) -> None:
    outcome = replace(desk, shell=Shell(result)).call("bash", command="x")
    assert (outcome.text, outcome.is_error) == (text, is_error)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"command": "x", "timeout": 601}, "timeout: is in seconds and at most 600, not 601"),
        ({"command": "x", "timeout": 0}, "timeout: should be greater than or equal to 1, not 0"),
        ({"command": "a\0b"}, "command: holds a NUL character, which no command line can"),
    ],
)
def test_a_command_that_cannot_run_is_not_started(arguments: dict[str, object], complaint: str, desk: Desk) -> None:
    assert desk.refusal("bash", **arguments) == complaint
    assert desk.shell.asked == []


def test_an_answer_comes_back_as_it_was_given(desk: Desk) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def answer(question: str, options: tuple[str, ...]) -> str:
        asked.append((question, options))
        return "the second"

    there = replace(desk, ask=answer)
    assert there.text("ask", question=" Which one? ", options=["a", "b"]) == "the second"
    assert there.text("ask", question="Why?") == "the second"
    assert asked == [("Which one?", ("a", "b")), ("Why?", ())]


def test_a_cancelled_question_ends_the_run_and_not_only_the_tool(desk: Desk) -> None:
    def leave(question: str, options: tuple[str, ...]) -> str:
        raise Cancelled("interrupted")

    with pytest.raises(Cancelled):
        replace(desk, ask=leave).call("ask", question="Why?")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_a_machine_that_has_run_out_ends_the_run_for_no_model_can_mend_that(desk: Desk, number: int) -> None:
    def fail(question: str, options: tuple[str, ...]) -> str:
        raise OSError(number, "it is so", "/x/y")

    with pytest.raises(WorkspaceError, match="/x/y: it is so"):
        replace(desk, ask=fail).call("ask", question="Why?")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(13, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (ZeroDivisionError("secret"), "this tool failed with ZeroDivisionError, which is a bug of autoroute"),
    ],
)
def test_what_goes_wrong_inside_a_tool_is_a_result(error: Exception, text: str, desk: Desk) -> None:
    def fail(question: str, options: tuple[str, ...]) -> str:
        raise error

    refusal = replace(desk, ask=fail).refusal("ask", question="Why?")
    assert refusal.startswith(text)
    assert "secret" not in refusal

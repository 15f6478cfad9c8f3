from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoroute.workspace import CommandResult
from tests.tools.conftest import Harness, Shell


def test_a_command_runs_at_the_root_with_the_default_timeout_and_its_own_log(harness: Harness) -> None:
    assert harness.text("bash", command="make test") == "hello\n(exit code 0)"
    harness.text("bash", command="make test", timeout="90")
    (first, second) = harness.shell.asked
    assert first[:3] == ("make test", 60.0, harness.root)
    assert second[:3] == ("make test", 90, harness.root)
    assert first[3].parent == second[3].parent == harness.context.logs
    assert first[3] != second[3]


@pytest.mark.parametrize(
    ("result", "text", "is_error"),
    [
        (CommandResult(0, "", 0.1), "(no output)\n(exit code 0)", False),
        (CommandResult(3, "boom\n\n", 0.1), "boom\n(exit code 3)", True),
        (
            CommandResult(None, "half", 60.0),
            "half\n(timed out after 60 s: the command and all its processes were stopped)",
            True,
        ),
        (
            CommandResult(0, "head … tail", 1.0, Path("/run/logs/x.log")),
            "head … tail\n(exit code 0; the output was cut, and the user has all of it in a log)",
            False,
        ),
    ],
)
def test_the_result_says_how_the_command_ended(
    result: CommandResult, text: str, is_error: bool, harness: Harness
) -> None:
    outcome = replace(harness, shell=Shell(result)).call("bash", command="x")
    assert (outcome.text, outcome.is_error) == (text, is_error)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"command": "x", "timeout": 601}, "timeout: must be at most 600 seconds, not 601"),
        ({"command": "x", "timeout": 0}, "timeout: should be greater than or equal to 1, not 0"),
        ({"command": "a\0b"}, "command: contains a NUL character, which a command line cannot contain"),
    ],
)
def test_an_invalid_command_is_not_started(arguments: dict[str, object], error: str, harness: Harness) -> None:
    assert harness.error("bash", **arguments) == error
    assert harness.shell.asked == []

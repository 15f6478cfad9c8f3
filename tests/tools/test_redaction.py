"""No tool shows a part of a key, and no tool writes the redaction mark over one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoroute.messages import Message, ToolCall
from autoroute.redaction import REDACTED, Redactor, redact_value
from autoroute.tools import _TOOLS, ToolOutcome, open_toolbox
from tests.tools.conftest import Harness

KEY = "sk-proj-" + "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5z" * 3
REDACT = Redactor([KEY]).redact
WRAPPED = base64.encodebytes(b"x" * 50 + KEY.encode()).decode()


@pytest.fixture
def hiding(harness: Harness) -> Harness:
    return replace(harness, redact=REDACT)


SHORTENING: dict[str, tuple[int, Callable[[Harness, str], ToolOutcome]]] = {
    "read": (2_000, lambda harness, _: harness.call("read", path="a.json")),
    "grep": (500, lambda harness, _: harness.call("grep", pattern="pad")),
    "edit": (500, lambda harness, _: harness.call("edit", path="a.json", old="first", new="changed")),
    "edit that finds nothing": (
        500,
        lambda harness, line: harness.call("edit", path="a.json", old=line.replace(KEY, "!"), new="x"),
    ),
}


@pytest.mark.parametrize("call", SHORTENING)
@pytest.mark.parametrize("shown", [*range(0, len(KEY) + 1, 12), len(KEY)])
def test_no_part_of_a_key_that_a_cut_would_leave_is_shown(hiding: Harness, call: str, shown: int) -> None:
    width, ask = SHORTENING[call]
    line = f'{{"pad": "{"x " * width}'[: width - shown] + KEY + '"}'
    hiding.put("a.json", f"first\n{line}\n")
    text = REDACT(ask(hiding, line).text)
    assert '{"pad"' in text
    assert not any(KEY[at : at + 8] in text for at in range(len(KEY) - 7))


def test_lines_keep_their_numbers_after_a_key_of_several_lines(hiding: Harness) -> None:
    hiding.put("a.txt", f"first\n{WRAPPED}last\n")
    many = WRAPPED.count("\n")
    lines = hiding.text("read", path="a.txt").splitlines()
    assert lines[0] == "     1\tfirst"
    assert lines[-1] == f"{many + 2:>6}\tlast"
    assert REDACTED in lines[1] + lines[2]
    assert not any(piece[8:40] in "".join(lines[2:-1]) for piece in WRAPPED.splitlines()[1:])
    assert hiding.text("grep", pattern="last") == f"a.txt:{many + 2}: last"


WORKS_ON_FILES = {
    "read": {"path": f"{KEY}.txt"},
    "grep": {"pattern": KEY},
    "find": {"glob": f"*{KEY}*"},
    "write": {"path": "a.py", "content": f'client(api_key="{KEY}")\n'},
    "edit": {"path": "a.txt", "old": "one", "new": KEY},
    "bash": {"command": f"curl -H 'Authorization: {KEY}' example"},
}


def altered(name: str, arguments: dict[str, Any]) -> ToolCall:
    message = redact_value(Message("assistant", (ToolCall("c1", name, json.dumps(arguments)),)), REDACT)
    return message.calls[0]


@pytest.mark.parametrize("name", [name for name, tool in _TOOLS.items() if tool.needs_exact_arguments])
def test_a_call_from_which_a_key_was_redacted_is_not_executed(hiding: Harness, name: str) -> None:
    path = hiding.put("a.txt", "one\n")
    toolbox, call = open_toolbox(tuple(_TOOLS), hiding.context), altered(name, WORKS_ON_FILES[name])
    for prepared in (toolbox.prepare(call), toolbox.prepare_interrupted(call, None)):
        outcome = prepared.run()
        assert outcome.is_error
        assert "not executed" in outcome.text
        assert prepared.intent is None
        assert not prepared.needs_checkpoint
    assert path.read_text() == "one\n"
    assert [file.name for file in hiding.root.iterdir()] == ["a.txt"]
    assert hiding.shell.asked == []


def test_a_question_is_asked_without_the_key(hiding: Harness) -> None:
    asked: list[str] = []

    def ask(question: str, options: tuple[str, ...]) -> str:
        asked.append(question)
        return "no"

    toolbox = open_toolbox(("ask",), replace(hiding, ask=ask).context)
    assert toolbox.prepare(altered("ask", {"question": f"Is it {KEY}?"})).run() == ToolOutcome("no")
    assert asked == ["Is it [redacted]?"]


CONF = f"user = me\napi_key = {KEY}\nport = 1\n"
SEEN = REDACT(CONF)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("write", {"content": f"{SEEN}host = here\n"}),
        ("edit", {"old": "port = 1\n", "new": f"port = 1\napi_key = {REDACTED}\n"}),
        ("edit", {"old": f"api_key = {REDACTED}\nport = 1", "new": f"api_key = {REDACTED}\nport = 2"}),
        ("edit", {"old": f"api_key = {REDACTED}\n", "new": ""}),
    ],
)
def test_the_redaction_mark_never_replaces_a_key(hiding: Harness, name: str, arguments: dict[str, str]) -> None:
    path = hiding.put("a.conf", CONF)
    assert "a.conf contains one of the user's keys" in hiding.error(name, path="a.conf", **arguments)
    assert path.read_text() == CONF


def test_the_text_around_a_key_can_be_changed_and_the_key_removed(hiding: Harness) -> None:
    path = hiding.put("a.conf", CONF)
    assert f"2\tapi_key = {REDACTED}" in hiding.text("edit", path="a.conf", old="port = 1", new="port = 2")
    assert path.read_text() == CONF.replace("port = 1", "port = 2")
    hiding.text("write", path="a.conf", content="port = 3\n")
    assert path.read_text() == "port = 3\n"


def test_a_file_that_contains_the_mark_itself_can_be_changed(hiding: Harness) -> None:
    path = hiding.put("hide.py", f'MARK = "{REDACTED}"\n')
    hiding.text("edit", path="hide.py", old=f'"{REDACTED}"', new=f'"<{REDACTED}>"')
    hiding.text("write", path="hide.py", content=f'{path.read_text()}TWO = "{REDACTED}{REDACTED}"\n')
    path = hiding.put("both.py", f'MARK = "{REDACTED}"\nKEY = "{KEY}"\n')
    hiding.text("edit", path="both.py", old=f'MARK = "{REDACTED}"', new=f'MARK = ("{REDACTED}")')
    assert path.read_text() == f'MARK = ("{REDACTED}")\nKEY = "{KEY}"\n'

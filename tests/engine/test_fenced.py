"""A model without tool calling works like one with a single tool, in words alone."""

from __future__ import annotations

import pytest

from autoroute.engine.fenced import FencedModel
from autoroute.messages import Message, Reply, Request, Stop, Text, ToolCall, ToolResult, ToolSpec
from tests.engine.doubles import ScriptedModel, reply

SPECS = (ToolSpec("read", "reads", "{}"), ToolSpec("submit_spec", "submits", '{"type":"object"}'))
OPENING = Message("user", (Text("Write the spec."),))


def ask(model: FencedModel, *messages: Message) -> Reply:
    request = Request(model="m", system="Be brief.", messages=messages, tools=SPECS)
    (answer,) = [item for item in model.ask(request) if isinstance(item, Reply)]
    return answer


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('Here.\n\n```json\n{"a": 1}\n```\n', '{"a": 1}'),
        ('```\n{"a": 1}\n```', '{"a": 1}'),
        ('```json\nfirst\n```\nNo:\n```json\n{"b": 2}\n```', '{"b": 2}'),
        ('```json\r\n{"a": 1}\r\n```', '{"a": 1}'),
        ("no block", None),
        ('```json\n{"a": 1}', None),
    ],
)
def test_the_last_fenced_block_is_the_call(text: str, arguments: str | None) -> None:
    scripted = ScriptedModel([reply(Text(text))])
    answer = ask(FencedModel(scripted, "submit_spec", "<repository/>"), OPENING)
    assert [call.arguments for call in answer.message.calls] == ([] if arguments is None else [arguments])
    assert answer.stop is (Stop.END if arguments is None else Stop.TOOLS)
    assert answer.message.text == text


def test_what_is_sent_has_no_tools_the_schema_the_digest_and_grows_at_its_end() -> None:
    scripted = ScriptedModel([reply(Text("```json\n{}\n```")), reply(Text("```json\n{}\n```"))])
    model = FencedModel(scripted, "submit_spec", "<repository/>")
    first = ask(model, OPENING)
    complaint = Message("user", (ToolResult(first.message.calls[0].id, "title: missing", is_error=True),))
    ask(model, OPENING, first.message, complaint)
    before, after = scripted.requests
    assert before.tools == after.tools == ()
    assert '{"type":"object"}' in before.system
    assert before.messages[0].text == "<repository/>\nWrite the spec."
    assert after.messages[0] is before.messages[0]
    assert after.messages[2].text == "title: missing"
    parts = [part for message in after.messages for part in message.parts]
    assert not any(isinstance(part, ToolCall | ToolResult) for part in parts)

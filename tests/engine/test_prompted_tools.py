"""A model without tool calling works like one with a single tool, in words alone."""

from __future__ import annotations

import pytest

from autoroute.engine.prompted_tools import PromptedToolModel
from autoroute.messages import Message, Reply, Request, Stop, Text, ToolCall, ToolResult, ToolSpec
from tests.engine.doubles import ScriptedModel, reply

SPECS = (ToolSpec("read", "reads", "{}"), ToolSpec("submit_spec", "submits", '{"type":"object"}'))
OPENING = Message("user", (Text("Write the spec."),))


def ask(model: PromptedToolModel, *messages: Message) -> Reply:
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
    answer = ask(PromptedToolModel(scripted, "submit_spec", "<repository/>"), OPENING)
    assert [call.arguments for call in answer.message.calls] == ([] if arguments is None else [arguments])
    assert answer.stop is (Stop.END if arguments is None else Stop.TOOLS)
    assert answer.message.text == text


def test_what_is_sent_has_no_tools_the_schema_the_digest_and_grows_at_its_end() -> None:
    scripted = ScriptedModel([reply(Text("```json\n{}\n```")), reply(Text("```json\n{}\n```"))])
    model = PromptedToolModel(scripted, "submit_spec", "<repository/>")
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


def test_the_digest_is_that_of_what_is_sent_and_an_interrupt_is_passed_on() -> None:
    scripted = ScriptedModel([reply(Text("```json\n{}\n```"))])
    model = PromptedToolModel(scripted, "submit_spec", "<repository/>")
    digest = model.digest(Request(model="m", system="Be brief.", messages=(OPENING,), tools=SPECS))
    ask(model, OPENING)
    assert digest == scripted.digest(scripted.requests[0])
    model.interrupt()
    assert scripted.interrupted


LOOKED = (
    Message(
        "assistant",
        (
            Text("I look."),
            ToolCall("toolu_1", "read", '{"path": "a.py"}'),
            ToolCall("toolu_2", "read", '{"path": "b.py"'),
            ToolCall("toolu_3", "find", "{}"),
        ),
    ),
    Message(
        "user",
        (
            ToolResult("toolu_1", "print(1)"),
            ToolResult("toolu_2", "the arguments are not valid JSON", is_error=True),
            ToolResult("toolu_3", ""),
            Text("Go on."),
        ),
    ),
)


def test_what_a_model_with_tools_found_out_before_is_told_in_words() -> None:
    scripted = ScriptedModel([reply(Text("```json\n{}\n```")), reply(Text("```json\n{}\n```"))])
    model = PromptedToolModel(scripted, "submit_spec", "<repository/>")
    first = ask(model, OPENING, *LOOKED)
    complaint = Message("user", (ToolResult(first.message.calls[0].id, "title: missing", is_error=True),))
    ask(model, OPENING, *LOOKED, first.message, complaint)
    before, after = scripted.requests
    assert [message.text for message in after.messages] == [
        "<repository/>\nWrite the spec.",
        'I look.\n[called read {"path": "a.py"}]\n[called read {"path": "b.py"]\n[called find {}]',
        (
            "[result of read]\n<result>\nprint(1)\n</result>\n[result of read]\n<result>\nthe arguments are not valid JSON\n</result>\n"
            "[result of find]\n<result>\n(no output)\n</result>\nGo on."
        ),
        "```json\n{}\n```",
        "title: missing",
    ]
    assert after.messages[:3] == before.messages
    assert all(one is other for one, other in zip(before.messages, after.messages, strict=False))


def test_a_conversation_that_was_shortened_is_sent_as_it_is_now() -> None:
    scripted = ScriptedModel([reply(Text("so far")), reply(Text("```json\n{}\n```"))])
    model = PromptedToolModel(scripted, "submit_spec", "<repository/>")
    ask(model, OPENING, *LOOKED)
    shorter = Message("user", (Text("In short."),))
    ask(model, shorter)
    assert [message.text for message in scripted.requests[1].messages] == ["<repository/>\nIn short."]


def test_a_call_made_of_a_block_gets_an_id_of_its_own_also_where_the_conversation_was_shortened() -> None:
    scripted = ScriptedModel([reply(Text("```json\n{}\n```"))])
    kept = Message("assistant", (Text("```json\n{}\n```"), ToolCall("fenced_3", "submit_spec", "{}")))
    complaint = Message("user", (ToolResult("fenced_3", "title: missing", is_error=True),))
    answer = ask(PromptedToolModel(scripted, "submit_spec", ""), OPENING, kept, complaint)
    assert [call.id for call in answer.message.calls] == ["fenced_4"]

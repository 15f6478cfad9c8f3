"""Where providers differ from the plain form of ``openai-chat``."""

from __future__ import annotations

import json
import re

from autoroute.messages import Message, Text, ToolCall, ToolResult
from autoroute.routing import Quirks
from tests.wire.speakers import SPEAKERS, profile, request

CONVERSATION = (
    Message("user", (Text("look"),)),
    Message("assistant", (ToolCall("toolu_01", "read", "{}"), ToolCall("toolu_02", "read", "{}"))),
    Message("user", (ToolResult("toolu_01", "x"), ToolResult("toolu_02", "y"))),
)


def messages(quirks: Quirks) -> list[dict[str, object]]:
    body = SPEAKERS["openai-chat"].codec(profile("openai-chat", quirks=quirks)).encode(request(*CONVERSATION))
    sent: list[dict[str, object]] = json.loads(body)["messages"]
    return sent


def test_mistral_gets_ids_of_nine_characters_that_still_pair() -> None:
    _, _, asked, *results = messages(Quirks(short_tool_ids=True))
    calls = asked["tool_calls"]
    assert isinstance(calls, list)
    ids = [call["id"] for call in calls]
    assert all(re.fullmatch(r"[a-zA-Z0-9]{9}", id) for id in ids)
    assert len(set(ids)) == 2
    assert [result["tool_call_id"] for result in results] == ids


def test_gemini_gets_a_signature_with_every_call() -> None:
    calls = messages(Quirks(thought_signature=True))[2]["tool_calls"]
    assert isinstance(calls, list)
    assert all(call["extra_content"]["google"]["thought_signature"] for call in calls)
    plain = messages(Quirks())[2]["tool_calls"]
    assert isinstance(plain, list)
    assert all("extra_content" not in call for call in plain)

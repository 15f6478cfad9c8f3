"""A model without tool calling, adapted to one with a single tool: it submits its artifact in a fenced block.

The tool is the one that submits the phase's artifact. The model cannot read files, so its first message holds a digest
of the repository. Calls that a model with tools made earlier in the conversation are described in text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from autoroute.messages import Delta, Message, Part, Reply, Request, Stop, Text, ToolCall, ToolResult
from autoroute.patterns import pattern
from autoroute.phases import prompts
from autoroute.wire import Model

_OURS = "fenced_"
"""Prefix of the ids of calls that were made from a block. The text beside such a call already says all that it does."""
_FENCED = pattern(r"^[ \t]*```+[ \t]*(?:json)?[ \t]*\r?\n(.*?)^[ \t]*```+[ \t]*$", re.DOTALL | re.MULTILINE)


class PromptedToolModel:
    """A ``Model`` that takes requests with tools and sends them without. ``submit`` is the tool of the phase."""

    def __init__(self, model: Model, submit: str, digest: str) -> None:
        self._model = model
        self._submit = submit
        self._digest = digest
        # Kept, so that a message is the same object in each request: codecs cache what they encoded by identity.
        self._rewritten: list[tuple[Message, Message]] = []

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn; a fenced block at the end of its text becomes a call of the submit tool."""
        for item in self._model.ask(self._without_tools(request)):
            yield self._with_call(item, request.messages) if isinstance(item, Reply) else item

    def digest(self, request: Request) -> str:
        """Return the SHA-256 of the body that is sent, without tools."""
        return self._model.digest(self._without_tools(request))

    def interrupt(self) -> None:
        """End the request in flight."""
        self._model.interrupt()

    def close(self) -> None:
        """Close connections."""
        self._model.close()

    def _without_tools(self, request: Request) -> Request:
        schema = next(tool.parameters for tool in request.tools if tool.name == self._submit)
        return replace(
            request,
            system=f"{request.system}\n\n{prompts.explain_no_tools(self._submit, schema)}",
            messages=self._rewrite(request.messages),
            tools=(),
        )

    def _rewrite(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        kept = 0
        for (known, _), message in zip(self._rewritten, messages, strict=False):
            if known is not message:
                break
            kept += 1
        del self._rewritten[kept:]
        for place in range(kept, len(messages)):
            calls = messages[place - 1].calls if place else ()
            self._rewritten.append((messages[place], self._plain(messages[place], calls, opens=place == 0)))
        return tuple(plain for _, plain in self._rewritten)

    def _plain(self, message: Message, calls: tuple[ToolCall, ...], *, opens: bool) -> Message:
        """Return the message as text alone; ``calls`` are those of the message before, which its results answer."""
        parts: list[Part] = [Text(self._digest)] if opens else []
        names = {call.id: call.name for call in calls}
        for part in message.parts:
            match part:
                case ToolCall(id):
                    parts += [] if id.startswith(_OURS) else [Text(prompts.describe_call(part))]
                case ToolResult(call, text) if call.startswith(_OURS):
                    parts.append(Text(text or "(no output)"))
                case ToolResult(call, text):
                    parts.append(Text(prompts.describe_result(names.get(call, "a call"), text)))
                case _:
                    parts.append(part)
        return Message(message.role, tuple(parts))

    def _with_call(self, reply: Reply, messages: tuple[Message, ...]) -> Reply:
        blocks = _FENCED.findall(reply.message.text)
        if not blocks or reply.stop is not Stop.END:
            return reply
        taken = {call.id for message in messages for call in message.calls}
        # Not the position alone: after a compaction, positions repeat.
        free = (id for number in count(len(messages)) if (id := f"{_OURS}{number}") not in taken)
        call = ToolCall(next(free), self._submit, blocks[-1].strip())
        return replace(reply, message=Message("assistant", (*reply.message.parts, call)), stop=Stop.TOOLS)

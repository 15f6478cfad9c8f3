"""How a conversation that outgrew its model's context window is shortened: its opening, what was done, the last turns.

What was agreed (task, spec, plan, review) stands in the opening already; what was changed is told as the diff that is
not committed yet, so nothing rests on a model's memory of itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoroute.engine.conversation import Conversation, cut_results, without_thinking
from autoroute.events import ConversationCompacted
from autoroute.messages import CHARACTERS_PER_TOKEN, Message, ToolCall, ToolResult
from autoroute.phases import prompts
from autoroute.text import truncate_middle

MOST = 3
"""How often in a row a conversation is shortened before its overflow is a problem like any other."""

_LONGEST_RESULTS = (20_000, 4_000, 1_000)
_LONGEST_OPENING = 60_000
_LONGEST_CALL = 160
_CALLS_TOLD = 60
_WORTH_IT = 0.8
"""A shortened conversation must have less than this part of its tokens."""


def shorten(
    conversation: Conversation, turn: int, reason: str, window: int | None, pending: str
) -> ConversationCompacted | None:
    """How to shorten the conversation to about half of ``window`` tokens (None: of its own length).

    Each time in a row half of the room is left. ``pending`` is the diff that is not committed. None when there is
    nothing to leave out.
    """
    if not conversation.messages:
        return None
    before = conversation.length or estimate_messages(conversation.messages, conversation.due)
    target = min(window or before, before) // 2 ** (conversation.shortened + 1)
    messages = without_thinking(conversation.messages)
    opening = _opening(messages, pending, target)
    kept, longest = _fitting(messages, conversation.due, target - len(opening) // CHARACTERS_PER_TOKEN)
    tail = [cut_results(message, longest) for message in messages[len(messages) - kept :]]
    after = len(opening) // CHARACTERS_PER_TOKEN + _tokens(tail)
    if after > before * _WORTH_IT:
        return None
    return ConversationCompacted(
        phase=conversation.phase,
        turn=turn,
        reason=reason,
        opening=opening,
        kept=kept,
        longest=longest,
        tokens_before=before,
        tokens_after=after,
    )


def estimate_messages(messages: Sequence[Message], due: Message | None) -> int:
    """Tokens of a conversation, rather too many, where no reply has counted them."""
    return _tokens(messages) + _tokens([due] if due else [])


def _opening(messages: tuple[Message, ...], pending: str, target: int) -> str:
    room = min(_LONGEST_OPENING, target * CHARACTERS_PER_TOKEN // 2)
    # An opening that was shortened before holds what was told then, up to this mark.
    original = messages[0].text.partition(prompts.COMPACTED)[0].rstrip()
    return prompts.continue_after_compaction(
        truncate_middle(original, room), _calls(messages), truncate_middle(pending, room // 2)
    )


def _fitting(messages: tuple[Message, ...], due: Message | None, room: int) -> tuple[int, int]:
    """How many messages of the end fit, from one of the model's on, and to what their results are cut."""
    for longest in _LONGEST_RESULTS:
        left = room - _tokens([cut_results(due, longest)] if due else [])
        kept = 0
        for number, message in enumerate(reversed(messages[1:]), start=1):
            left -= _tokens([cut_results(message, longest)])
            if left < 0:
                break
            if message.role == "assistant":
                kept = number
        if kept:
            return kept, longest
    return 1, _LONGEST_RESULTS[-1]


def _calls(messages: tuple[Message, ...]) -> list[str]:
    """The calls that were made, a line each, the last ones of many."""
    failed = {
        part.call for message in messages for part in message.parts if isinstance(part, ToolResult) and part.is_error
    }
    calls = [part for message in messages for part in message.parts if isinstance(part, ToolCall)]
    lines = [
        f"{call.name} {' '.join(call.arguments.split())[:_LONGEST_CALL]}{' (failed)' if call.id in failed else ''}"
        for call in calls
    ]
    left = len(lines) - _CALLS_TOLD
    return [*([f"({left} earlier ones)"] if left > 0 else []), *lines[-_CALLS_TOLD:]]


def _tokens(messages: Sequence[Message]) -> int:
    return sum(message.size for message in messages) // CHARACTERS_PER_TOKEN

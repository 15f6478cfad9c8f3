"""How a conversation that outgrew its model's context window is compacted: opening, list of calls, last turns.

What was agreed (task, spec, plan, review) is in the opening already. What was changed is added as the diff that is not
committed yet, so that nothing depends on a model's summary of its own work.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoroute.events import ConversationCompacted
from autoroute.messages import CHARACTERS_PER_TOKEN, Message, ToolCall, ToolResult
from autoroute.phases import prompts
from autoroute.state import Conversation, truncate_results, without_thinking
from autoroute.text import truncate_middle

MAX_COMPACTIONS = 3
"""How often in a row a conversation is compacted. After that, its overflow is a problem for recovery."""

_RESULT_LIMITS_CHARACTERS = (20_000, 4_000, 1_000)
"""To what the results of the last turns are truncated: the first of these with which a turn fits."""
_MAX_OPENING_CHARACTERS = 60_000
_MAX_CALL_CHARACTERS = 160
_MAX_CALLS_LISTED = 60
_MAX_SHARE_LEFT = 0.8
"""A compaction that leaves more than this share of the tokens is not worth the cold prompt cache."""


def compact(
    conversation: Conversation, turn: int, reason: str, window: int | None, diff: str
) -> ConversationCompacted | None:
    """Return the event that compacts the conversation to about half of ``window`` tokens, None if that is impossible.

    Without a window, half of its own length is the target. Each further compaction in a row halves the target again.
    ``diff`` is what is not committed yet.
    """
    if not conversation.messages:
        return None
    before = conversation.length or estimate_messages(conversation.messages, conversation.due)
    target = min(window or before, before) // 2 ** (conversation.pending.compactions + 1)
    messages = without_thinking(conversation.messages)
    opening = _opening(messages, diff, target)
    kept, limit = _fit(messages, conversation.due, target - len(opening) // CHARACTERS_PER_TOKEN)
    tail = [truncate_results(message, limit) for message in messages[len(messages) - kept :]]
    after = len(opening) // CHARACTERS_PER_TOKEN + _estimate(tail)
    if after > before * _MAX_SHARE_LEFT:
        return None
    return ConversationCompacted(
        phase=conversation.phase,
        turn=turn,
        reason=reason,
        opening=opening,
        kept=kept,
        longest=limit,
        tokens_before=before,
        tokens_after=after,
    )


def estimate_messages(messages: Sequence[Message], due: Message | None) -> int:
    """Return the tokens of a conversation that no provider has counted, rather too many than too few."""
    return _estimate(messages) + _estimate([due] if due else [])


def _opening(messages: tuple[Message, ...], diff: str, target: int) -> str:
    room = min(_MAX_OPENING_CHARACTERS, target * CHARACTERS_PER_TOKEN // 2)
    # What an earlier compaction added comes after this mark. Without the cut, openings would pile up.
    original = messages[0].text.partition(prompts.COMPACTED)[0].rstrip()
    return prompts.continue_after_compaction(
        truncate_middle(original, room), _list_calls(messages), truncate_middle(diff, room // 2)
    )


def _fit(messages: tuple[Message, ...], due: Message | None, room: int) -> tuple[int, int]:
    """Return how many of the last messages fit into ``room`` tokens, and to what their results are truncated.

    The first of them is one of the model's: the opening before it is the user's, and roles must alternate.
    """
    for limit in _RESULT_LIMITS_CHARACTERS:
        left = room - _estimate([truncate_results(due, limit)] if due else [])
        kept = 0
        for number, message in enumerate(reversed(messages[1:]), start=1):
            left -= _estimate([truncate_results(message, limit)])
            if left < 0:
                break
            if message.role == "assistant":
                kept = number
        if kept:
            return kept, limit
    return 1, _RESULT_LIMITS_CHARACTERS[-1]


def _list_calls(messages: tuple[Message, ...]) -> list[str]:
    """Return a line for each call that was made; of many, the last ones."""
    failed = {
        part.call for message in messages for part in message.parts if isinstance(part, ToolResult) and part.is_error
    }
    calls = [part for message in messages for part in message.parts if isinstance(part, ToolCall)]
    lines = [
        f"{call.name} {' '.join(call.arguments.split())[:_MAX_CALL_CHARACTERS]}"
        f"{' (failed)' if call.id in failed else ''}"
        for call in calls
    ]
    left_out = len(lines) - _MAX_CALLS_LISTED
    return [*([f"({left_out} earlier ones)"] if left_out > 0 else []), *lines[-_MAX_CALLS_LISTED:]]


def _estimate(messages: Sequence[Message]) -> int:
    return sum(message.size for message in messages) // CHARACTERS_PER_TOKEN

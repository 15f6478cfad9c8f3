"""The replies of a scripted model: a pure function of the conversation, so that every replay gets the same replies."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from autoroute.errors import BadRequest, ConfigError


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A tool call; ``arguments`` is JSON text. Without an ``id`` it gets one in the form that its wire uses."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One reply of a model; ``cut`` means that it ends at the output limit."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """The replies in one kind of conversation: one that offers a tool and whose first message contains some words.

    ``submit_spec`` is offered in spec, ``submit_plan`` in planning, ``edit`` in coding, ``submit_review`` in qa. ""
    matches any tool or any words.
    """

    offers: str
    says: str
    replies: tuple[ScriptedReply, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """Rules for conversations: the first one that matches gives the reply."""

    rules: tuple[Rule, ...]

    def reply(self, offered_tools: Collection[str], opening: str, answered: int) -> ScriptedReply:
        """Return the next reply of a conversation that has ``answered`` replies.

        Raises ``ScriptExhausted`` after the last reply, and for a conversation without a rule.
        """
        for rule in self.rules:
            if (not rule.offers or rule.offers in offered_tools) and rule.says in opening:
                if answered < len(rule.replies):
                    return rule.replies[answered]
                raise ScriptExhausted(
                    f"the script has {len(rule.replies)} replies for {rule.offers or 'any tool'} "
                    f"and {rule.says or 'any words'!r}, and was asked for one more"
                )
        raise ScriptExhausted(f"the script has no rule for a conversation that offers {', '.join(offered_tools)}")

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a script from a JSON file; raises ``ConfigError`` naming the file and the place."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not a valid script: {error}") from None
        try:
            return cls(tuple(_rule(rule) for rule in data["rules"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path}: not a script: {type(error).__name__}: {error}",
                hint='{"rules": [{"offers": "edit", "says": "", "replies": [{"text": "Done."}]}]}',
            ) from None

    def dump(self, path: Path) -> None:
        """Write the script as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


class ScriptExhausted(BadRequest):
    """A conversation is longer than its script, or the script has no rule for it."""


def _rule(data: dict[str, object]) -> Rule:
    replies = data["replies"]
    if not isinstance(replies, list):
        raise TypeError("replies must be a list")
    return Rule(str(data.get("offers", "")), str(data.get("says", "")), tuple(_reply(reply) for reply in replies))


def _reply(data: dict[str, object]) -> ScriptedReply:
    calls = data.get("calls", [])
    if not isinstance(calls, list):
        raise TypeError("calls must be a list")
    made = tuple(ScriptedCall(str(call["name"]), str(call["arguments"]), str(call.get("id", ""))) for call in calls)
    return ScriptedReply(str(data.get("text", "")), str(data.get("thinking", "")), made, bool(data.get("cut", False)))

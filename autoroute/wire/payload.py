"""JSON as the wires write and read it, and what vendors demand of ids, names and arguments."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from autoroute.errors import BadReply
from autoroute.messages import Message
from autoroute.parsing import RESPONSE_LIMITS, Unreadable, read_json, read_object

_WORDS = re.compile(r"[A-Za-z0-9_-]+")
_NO_WORDS = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64


def dump_json(value: object) -> bytes:
    """Compact JSON in UTF-8. Half a surrogate pair, which no server accepts, becomes U+FFFD.

    Raises ``ValueError`` for what JSON cannot say (NaN, infinity).
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def parse_event(text: str) -> dict[str, object]:
    """The object in one event of a stream; raises ``BadReply`` when it holds anything else."""
    try:
        value = read_json(text, RESPONSE_LIMITS)
    except Unreadable as error:
        words = "no JSON" if error.reason == "form" else str(error)
        raise BadReply(f"an event of the stream is {words}", detail=text) from None
    if not isinstance(value, dict):
        raise BadReply("an event of the stream is no JSON object", detail=text)
    return value


def dump_received(value: object) -> str:
    """The JSON text of something that came in an event; raises ``BadReply`` if it cannot be sent back."""
    try:
        return dump_json(value).decode()
    except (ValueError, RecursionError):
        raise BadReply("the answer holds a value that JSON cannot say") from None


def as_text(value: object) -> str:
    """The value if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def as_object(value: object) -> dict[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_count(value: object) -> int:
    """The value if it is a whole number above zero, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def as_arguments(value: object) -> str:
    """A piece of a call's arguments as JSON text: servers send text, and some a finished object."""
    if isinstance(value, str):
        return value
    return dump_received(value) if isinstance(value, dict) and value else ""


def arguments_to_send(text: str) -> dict[str, object]:
    """The arguments of a call as an object that any server takes back.

    What a model wrote may be no JSON object. It is sent back inside one, under ``_invalid_arguments``, so that the
    model sees its own mistake next to the result that complains of it.
    """
    try:
        return read_object(text or "{}")
    except Unreadable:
        return {"_invalid_arguments": text}


def valid_id(id: str, longest: int) -> str:
    """The id of a call if a wire takes it (letters, digits, ``_``, ``-``), else one made of it, always the same."""
    if len(id) <= longest and _WORDS.fullmatch(id):
        return id
    return "call_" + hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def valid_name(name: str) -> str:
    """The name of a tool as wires take it. A model may call a tool that does not exist, by any name."""
    return _NO_WORDS.sub("_", name)[:_LONGEST_NAME] or "_"


class Transcript:
    """Encodes the messages of a conversation, each of them once.

    A conversation grows at its end and its messages never change, so the JSON of those sent before is kept
    and the cost of a request is what is new in it.
    """

    def __init__(self, encode_message: Callable[[Message, str], bytes]) -> None:
        self._encode_message = encode_message
        self._model = ""
        self._messages: tuple[Message, ...] = ()
        self._fragments: list[bytes] = []

    def encode(self, messages: tuple[Message, ...], model: str) -> bytes:
        """The elements of the JSON array of messages, for a request to ``model``."""
        kept = 0
        if model == self._model:
            for known, message in zip(self._messages, messages, strict=False):
                if known is not message:
                    break
                kept += 1
        del self._fragments[kept:]
        self._fragments += (self._encode_message(message, model) for message in messages[kept:])
        self._model, self._messages = model, messages
        return b",".join(self._fragments)

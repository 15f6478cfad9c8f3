"""JSON as the wires write and read it, and what vendors require of ids, names and arguments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace

from autoroute.errors import BadReply
from autoroute.messages import Message, Request
from autoroute.parsing import RESPONSE_LIMITS, Unreadable, read_json, read_object
from autoroute.patterns import pattern

# https://platform.claude.com/docs/en/api/messages: names of tools match ^[a-zA-Z0-9_-]{1,64}$. OpenAI's are the same.
_VALID_ID = pattern(r"[A-Za-z0-9_-]+")
_INVALID_IN_NAME = pattern(r"[^A-Za-z0-9_-]")
_MAX_NAME_LENGTH = 64


def dump_json(value: object) -> bytes:
    """Return compact JSON in UTF-8. Half a surrogate pair, which no server accepts, becomes U+FFFD.

    Raises ``ValueError`` for what JSON cannot express (NaN, infinity).
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def parse_event(text: str) -> dict[str, object]:
    """Return the object in one event of a stream. Raises ``BadReply`` when it holds anything else."""
    try:
        value = read_json(text, RESPONSE_LIMITS)
    except Unreadable as error:
        reason = "not valid JSON" if error.reason == "form" else str(error)
        raise BadReply(f"an event of the stream is {reason}", detail=text) from None
    if not isinstance(value, dict):
        raise BadReply("an event of the stream is not a JSON object", detail=text)
    return value


def dump_received(value: object) -> str:
    """Return the JSON text of a value from an event. Raises ``BadReply`` if it cannot be sent back."""
    try:
        return dump_json(value).decode()
    except (ValueError, RecursionError):
        raise BadReply("the response holds a value that JSON cannot express") from None


def as_text(value: object) -> str:
    """Return the value if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def as_object(value: object) -> dict[str, object]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_count(value: object) -> int:
    """Return the value if it is a whole number above zero, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def as_arguments(value: object) -> str:
    """Return a piece of a call's arguments as JSON text: servers send text, and some a finished object."""
    if isinstance(value, str):
        return value
    return dump_received(value) if isinstance(value, dict) and value else ""


def arguments_to_send(text: str) -> dict[str, object]:
    """Return the arguments of a call as an object, which is what every server accepts.

    A model may write text that is not a JSON object. That text is sent back inside an object, under
    ``_invalid_arguments``: the model sees its own mistake beside the result that reports it.
    """
    try:
        return read_object(text or "{}")
    except Unreadable:
        return {"_invalid_arguments": text}


def valid_id(id: str, max_length: int) -> str:
    """Return the id of a call if a wire accepts it (letters, digits, ``_``, ``-``), else a digest of it."""
    if len(id) <= max_length and _VALID_ID.fullmatch(id):
        return id
    return "call_" + hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def valid_name(name: str) -> str:
    """Return the name of a tool as wires accept it. A model may call a tool that does not exist, by any name."""
    return _INVALID_IN_NAME.sub("_", name)[:_MAX_NAME_LENGTH] or "_"


class Transcript:
    """An encoder that encodes each message of a conversation once.

    A conversation grows at its end and its messages never change. So the JSON of the messages sent before is kept,
    and a request costs the encoding of what is new in it.
    """

    def __init__(self, encode_message: Callable[[Message, str], bytes]) -> None:
        self._encode_message = encode_message
        self._model = ""
        self._messages: tuple[Message, ...] = ()
        self._fragments: list[bytes] = []

    def encode(self, messages: tuple[Message, ...], model: str) -> bytes:
        """Return the elements of the JSON array of messages, for a request to ``model``."""
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


class RequestDigest:
    """SHA-256 digests of requests in their own JSON, for models that send no body of a protocol."""

    def __init__(self) -> None:
        self._transcript = Transcript(lambda message, _model: dump_json(asdict(message)))

    def of(self, request: Request) -> str:
        """Return the digest of a request, in hexadecimal. Equal requests have equal digests."""
        head = asdict(replace(request, messages=()))
        del head["messages"]
        messages = self._transcript.encode(request.messages, request.model)
        return hashlib.sha256(dump_json(head)[:-1] + b',"messages":[' + messages + b"]}").hexdigest()

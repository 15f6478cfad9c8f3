"""What an error body says, in any form: JSON of any protocol, a gateway's HTML page, or nothing."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoroute.parsing import RESPONSE_LIMITS, Unreadable, read_json
from autoroute.patterns import pattern
from autoroute.wire.payload import as_list, as_object, as_text

_MAX_MESSAGE_LENGTH = 2_400
_MAX_TITLE_SEARCH_LENGTH = 16_000
"""Characters of a page in which its title is looked for."""
_MAX_TIME_VALUE = 10**15

_BRACKETS = pattern(r"\[(\d{3,4})\]\[(.*?)\]", re.DOTALL)
"""Z.AI's ``[code][message][trace]`` inside the message, on its Anthropic-compatible endpoint."""
_TRAILING_CODE = pattern(r"\((\d{4})\)\s*$")
"""MiniMax's ``insufficient balance (1008)`` inside the message: https://github.com/MiniMax-AI/MiniMax-M2/issues/62."""
_TITLE = pattern(r"<title[^>]{0,200}>([^<]*)", re.IGNORECASE)
"""Attributes are bounded: a page that repeats ``<title`` without end would take quadratic time."""
_UNPRINTABLE = pattern(r"[\x00-\x1f\x7f-\x9f\s]+")
_TIME_FIELDS = ("retry_after", "retryDelay", "reset_at", "resets_at", "resetsAt", "reset_time", "resets_in_seconds")
"""Fields of an error that contain a time; ``retryDelay`` is that of google.rpc.RetryInfo."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The content of an error body: its message, which may be long, and its codes, the most specific first.

    ``quotas`` are the ids of exceeded quotas, ``times`` values that say when to ask again. ``headers``, with
    lower-case names, are those that a gateway passes on from the provider behind it.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    request_id: str = ""
    form: Literal["data", "page", "empty"] = "data"
    """``data`` is JSON or text, ``page`` is HTML."""
    quotas: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_error_body(text: str, max_gateways: int = 1) -> ErrorBody:
    """Return the content of an error body. ``max_gateways`` limits how deep errors inside an error are read."""
    if not text.strip():
        return ErrorBody(form="empty")
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text[:_MAX_TITLE_SEARCH_LENGTH])
        name = _to_one_line(html.unescape(title[1])) if title else ""
        return ErrorBody("the server responded with an HTML page" + (f": {name}" if name else ""), form="page")
    try:
        value = read_json(text, RESPONSE_LIMITS)
    except Unreadable:
        return ErrorBody(_to_one_line(text))
    if isinstance(value, list):
        value = next(iter(value), None)
    if isinstance(value, dict):
        return _read_object(value, max_gateways)
    return ErrorBody(_to_one_line(as_text(value)))


def _read_object(data: Mapping[str, object], max_gateways: int) -> ErrorBody:
    error, base = data.get("error"), as_object(data.get("base_resp"))
    inner = as_object(error) or data
    messages = (inner.get("message"), inner.get("msg"), inner.get("detail"), base.get("status_msg"))
    message = as_text(error) or next((text for value in messages if (text := as_text(value))), "")
    brackets = _BRACKETS.search(message)
    trailing = _TRAILING_CODE.search(message)
    details = [as_object(detail) for detail in as_list(inner.get("details")) or [inner.get("details")]]
    metadata = as_object(inner.get("metadata"))
    upstream = _read_upstream(metadata, max_gateways - 1) if max_gateways else ErrorBody()
    # Without an "error" member only the code tells of an error: type and status are those of the event.
    is_error = inner is not data or data.get("object") == "error"
    codes = [
        brackets[1] if brackets else "",
        *(detail.get("error_code") or detail.get("reason") for detail in details),
        metadata.get("limit_source"),
        inner.get("code"),
        *((as_text(inner.get("status")), inner.get("type")) if is_error else ()),
        base.get("status_code") or "",
        *upstream.codes,
        trailing[1] if trailing else "",
    ]
    violations = [as_object(one) for detail in details for one in as_list(detail.get("violations"))]
    return ErrorBody(
        _join(_to_one_line(brackets[2] if brackets else message), upstream.message),
        tuple(_codes(codes)),
        as_text(data.get("request_id")),
        quotas=tuple(as_text(violation.get("quotaId")) for violation in violations),
        times=tuple(_as_value(part.get(name)) for part in (inner, *details) for name in _TIME_FIELDS),
        headers={name.lower(): _as_value(value) for name, value in as_object(metadata.get("headers")).items()},
    )


def _read_upstream(metadata: Mapping[str, object], max_gateways: int) -> ErrorBody:
    """Return the error of the provider behind OpenRouter, which passes it on unchanged, in ``raw``."""
    raw = metadata.get("raw")
    body = _read_object(raw, max_gateways) if isinstance(raw, dict) else parse_error_body(as_text(raw), max_gateways)
    name = as_text(metadata.get("provider_name"))
    return ErrorBody(f"{_to_one_line(name)}: {body.message}" if name and body.message else body.message, body.codes)


def _join(message: str, more: str) -> str:
    return f"{message}: {more}" if message and more and more not in message else message or more


def _codes(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
            yield str(value)


def _as_value(value: object) -> str:
    """Return a text, or a number as text; "" for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_TIME_VALUE:
        return f"{value:.3f}"
    return as_text(value)


def _to_one_line(text: str) -> str:
    """Return the text as one line without control characters, cut far beyond what is shown.

    A key that the cut goes through cannot be recognized and redacted; what is shown must only contain whole keys.
    """
    return _UNPRINTABLE.sub(" ", text).strip()[:_MAX_MESSAGE_LENGTH]

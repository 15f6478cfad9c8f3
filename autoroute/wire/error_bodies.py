"""What an error body says, whatever form it has: data of any family, a gateway's page, or nothing."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoroute.parsing import RESPONSE_LIMITS, Unreadable, read_json
from autoroute.wire.payload import as_list, as_object, as_text

_LONGEST_TEXT = 2_400
_LONGEST_HEAD = 16_000
_LONGEST_NUMBER = 10**15

_BRACKETS = re.compile(r"\[(\d{3,4})\]\[(.*?)\]", re.DOTALL)
"""Z.AI's ``[code][message][trace]``, inside the message, on its Anthropic-compatible endpoint."""
_LAST_CODE = re.compile(r"\((\d{4})\)\s*$")
"""MiniMax's ``insufficient balance (1008)``, likewise: https://github.com/MiniMax-AI/MiniMax-M2/issues/62."""
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]*)", re.IGNORECASE)
"""Bounded, as a page may repeat its first half as often as it likes."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")
_NAMES_A_TIME = ("retry_after", "retryDelay", "reset_at", "resets_at", "resetsAt", "reset_time", "resets_in_seconds")
"""Fields of an error that state a time; ``retryDelay`` is that of google.rpc.RetryInfo."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body says: ``codes`` from the most to the least specific; the message may be long.

    ``quotas`` are ids of quotas that failed, ``times`` values that state when to ask again, and ``headers``, with
    lower-case names, those that a gateway hands on.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    request_id: str = ""
    form: Literal["data", "page", "empty"] = "data"
    """A ``page`` is HTML."""
    quotas: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_error_body(text: str, hops: int = 1) -> ErrorBody:
    """What an error body says, whatever form it has; ``hops`` is how many gateways it may have come through."""
    if not text.strip():
        return ErrorBody(form="empty")
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text[:_LONGEST_HEAD])
        name = _tidy(html.unescape(title[1])) if title else ""
        return ErrorBody("answered with an HTML page" + (f": {name}" if name else ""), form="page")
    try:
        value = read_json(text, RESPONSE_LIMITS)
    except Unreadable:
        return ErrorBody(_tidy(text))
    if isinstance(value, list):
        value = next(iter(value), None)
    if isinstance(value, dict):
        return _read_object(value, hops)
    return ErrorBody(_tidy(as_text(value)))


def _read_object(data: Mapping[str, object], hops: int) -> ErrorBody:
    error, base = data.get("error"), as_object(data.get("base_resp"))
    inner = as_object(error) or data
    said = (inner.get("message"), inner.get("msg"), inner.get("detail"), base.get("status_msg"))
    message = as_text(error) or next((text for value in said if (text := as_text(value))), "")
    brackets = _BRACKETS.search(message)
    last = _LAST_CODE.search(message)
    details = [as_object(detail) for detail in as_list(inner.get("details")) or [inner.get("details")]]
    metadata = as_object(inner.get("metadata"))
    upstream = _read_upstream(metadata, hops - 1) if hops else ErrorBody()
    # A bare object is an error only by its code; its type and its status are those of the event.
    is_error = inner is not data or data.get("object") == "error"
    codes = [
        brackets[1] if brackets else "",
        *(detail.get("error_code") or detail.get("reason") for detail in details),
        metadata.get("limit_source"),
        inner.get("code"),
        *((as_text(inner.get("status")), inner.get("type")) if is_error else ()),
        base.get("status_code") or "",
        *upstream.codes,
        last[1] if last else "",
    ]
    violations = [as_object(one) for detail in details for one in as_list(detail.get("violations"))]
    return ErrorBody(
        _join(_tidy(brackets[2] if brackets else message), upstream.message),
        tuple(_codes(codes)),
        as_text(data.get("request_id")),
        quotas=tuple(as_text(violation.get("quotaId")) for violation in violations),
        times=tuple(_as_value(part.get(name)) for part in (inner, *details) for name in _NAMES_A_TIME),
        headers={name.lower(): _as_value(value) for name, value in as_object(metadata.get("headers")).items()},
    )


def _read_upstream(metadata: Mapping[str, object], hops: int) -> ErrorBody:
    """What the provider behind a gateway said, which hands it on as it came, in ``raw``."""
    raw = metadata.get("raw")
    said = _read_object(raw, hops) if isinstance(raw, dict) else parse_error_body(as_text(raw), hops)
    name = as_text(metadata.get("provider_name"))
    return ErrorBody(f"{_tidy(name)}: {said.message}" if name and said.message else said.message, said.codes)


def _join(message: str, more: str) -> str:
    return f"{message}: {more}" if message and more and more not in message else message or more


def _codes(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
            yield str(value)


def _as_value(value: object) -> str:
    """A text, or a number as text; "" for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LONGEST_NUMBER:
        return f"{value:.3f}"
    return as_text(value)


def _tidy(text: str) -> str:
    """One line, without control characters. It is bounded, but longer than what is shown: a key in that is whole."""
    return _UNPRINTABLE.sub(" ", text).strip()[:_LONGEST_TEXT]

"""What a provider's refusal means: status, headers and body -> one class of ``ProviderError``.

Asked in this order: the profile's own ``errors`` table, the codes and types of the wire families, the two failures that
Anthropic gives no code, the HTTP status. Words are read in error bodies only, never in what a model says.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import MappingProxyType

from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    ConfigError,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.routing import ProviderProfile
from autoroute.wire.payload import as_object, as_text

_LONGEST_MESSAGE = 600
_LONGEST_DETAIL = 4000

Kind = type[ProviderError]

_KINDS: Mapping[str, Kind] = {kind.__name__: kind for kind in ProviderError.__subclasses__()}

# https://platform.claude.com/docs/en/api/errors: `error.details.error_code` and `error.type`.
_ANTHROPIC: Mapping[str, Kind] = {
    "enforced_spend_limit_reached": Billing,
    "contract_spend_limit_reached": Billing,
    "linked_organization_spend_limit_reached": Billing,
    "organization_on_hold": Unauthorized,
    "verification_required": Unauthorized,
    "ramp_limit_exceeded": Busy,
    "authentication_error": Unauthorized,
    "billing_error": Billing,
    "permission_error": Unauthorized,
    "not_found_error": NoSuchModel,
    "request_too_large": TooLong,
    "rate_limit_error": Busy,
    "timeout_error": Unreachable,
    "overloaded_error": Busy,
}

# https://platform.openai.com/docs/guides/error-codes: `error.code`, else `error.type`.
_OPENAI: Mapping[str, Kind] = {
    "invalid_api_key": Unauthorized,
    "unsupported_country_region_territory": Unauthorized,
    "model_not_found": NoSuchModel,
    "context_length_exceeded": TooLong,
    "rate_limit_exceeded": Busy,
    "slow_down": Busy,
    "server_is_overloaded": Busy,
    "insufficient_quota": Billing,
    "billing_hard_limit_reached": Billing,
    "credit_balance_exhausted": Billing,
    "organization_spend_limit_exceeded": Billing,
    "project_spend_limit_exceeded": Billing,
    "organization_usage_limit_exceeded": Billing,
    # Responses that failed for their input, which would fail again; their other codes pass with time.
    "invalid_prompt": BadRequest,
    "data_residency_mismatch": BadRequest,
    "bio_policy": BadRequest,
    "misalignment_policy_violation": BadRequest,
}

CODES: Mapping[str, Kind] = MappingProxyType({**_ANTHROPIC, **_OPENAI})
"""Both families at once: gateways and compatible servers answer in either's words, whatever they were asked in."""

STATUSES: Mapping[int, Kind] = MappingProxyType(
    {
        401: Unauthorized,
        402: Billing,
        403: Unauthorized,
        404: NoSuchModel,
        408: Unreachable,
        409: Unreachable,
        413: TooLong,
        429: Busy,
        499: Unreachable,
        503: Busy,
        529: Busy,
    }
)
"""What a status means when no code says better; other 4xx are ``BadRequest``, other 5xx ``Unreachable``."""

_CODELESS: tuple[tuple[str, Kind], ...] = (
    # Both come as plain `invalid_request_error` with status 400 and no error code.
    ("credit balance is too low", Billing),
    ("prompt is too long", TooLong),
)

_BRACKETS = re.compile(r"\[(\d{3,4})\]\[(.*?)\]", re.DOTALL)
"""Z.AI's ``[code][message][trace]``, inside the message, on its Anthropic-compatible endpoint."""
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What an error body says: ``codes`` from the most to the least specific."""

    message: str = ""
    codes: tuple[str, ...] = ()
    request_id: str = ""


def failure(
    status: int, headers: Mapping[str, str], body: bytes, profile: ProviderProfile, now: datetime
) -> ProviderError:
    """The error that an HTTP answer stands for. ``headers`` has lower-case names, ``now`` is in UTC.

    With a status below 400 the answer should have been a stream; it is a ``BadReply`` unless its body names an error.
    """
    text = body.decode("utf-8", "replace")
    complaint = _read(text)
    kind = _classify(status, complaint, profile)
    if kind is None:
        kind = BadReply
        complaint = _Complaint(complaint.message or "the answer is no stream", complaint.codes, complaint.request_id)
    return kind(
        complaint.message or _name_status(status),
        status=status,
        code=next(iter(complaint.codes), ""),
        request_id=complaint.request_id,
        retry_at=_retry_at(headers, now),
        detail=text[:_LONGEST_DETAIL],
    )


def stream_failure(text: str, profile: ProviderProfile) -> ProviderError:
    """The error that the data of an event inside a stream stands for; ``Unreachable`` when nothing is known of it."""
    complaint = _read(text)
    kind = _classify(HTTPStatus.OK, complaint, profile) or Unreachable
    return kind(
        complaint.message or "the provider reported an error in its answer",
        status=HTTPStatus.OK,
        code=next(iter(complaint.codes), ""),
        request_id=complaint.request_id,
        detail=text[:_LONGEST_DETAIL],
    )


def check_error_table(profile: ProviderProfile) -> None:
    """Raise ``ConfigError`` when the profile's ``errors`` names a class that does not exist."""
    for code, name in profile.errors.items():
        if name not in _KINDS:
            raise ConfigError(
                f"[providers.{profile.name}.errors] {code} = {name!r} is no class of error",
                hint=f"use one of {', '.join(sorted(_KINDS))}",
            )


def _classify(status: int, complaint: _Complaint, profile: ProviderProfile) -> Kind | None:
    for code in complaint.codes:
        if code in profile.errors:
            return _KINDS[profile.errors[code]]
    for code in complaint.codes:
        if code in CODES:
            return CODES[code]
    if status < HTTPStatus.BAD_REQUEST:
        # Gateways put the HTTP status of the real failure into the code.
        status = next((int(code) for code in complaint.codes if re.fullmatch("[45][0-9][0-9]", code)), status)
    if status == HTTPStatus.BAD_REQUEST or "invalid_request_error" in complaint.codes:
        for words, kind in _CODELESS:
            if words in complaint.message.lower():
                return kind
    if status in STATUSES:
        return STATUSES[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable
    if status >= HTTPStatus.BAD_REQUEST or "invalid_request_error" in complaint.codes:
        return BadRequest
    return Unreachable if complaint.codes else None


def _read(text: str) -> _Complaint:
    """What an error body says, whatever form it has."""
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text[:100_000])
        name = _tidy(html.unescape(title[1])) if title else ""
        return _Complaint("answered with an HTML page" + (f": {name}" if name else ""))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _Complaint(_tidy(text))
    if isinstance(value, list):
        value = next(iter(value), None)
    if isinstance(value, dict):
        return _read_object(value)
    return _Complaint(_tidy(as_text(value)))


def _read_object(data: Mapping[str, object]) -> _Complaint:
    error = data.get("error")
    inner = as_object(error) or data
    message = as_text(error) or next(
        (text for key in ("message", "msg", "detail") if (text := as_text(inner.get(key)))), ""
    )
    brackets = _BRACKETS.search(message)
    details = as_object(inner.get("details"))
    codes = [brackets[1] if brackets else "", details.get("error_code"), inner.get("code"), inner.get("type")]
    if inner is data:
        # A bare object is an error only by its code; its type is that of the event.
        codes.pop()
    return _Complaint(
        _tidy(brackets[2] if brackets else message),
        tuple(_codes(codes)),
        as_text(data.get("request_id")),
    )


def _codes(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str) and value:
            yield value[:100]
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
            yield str(value)


def _tidy(text: str) -> str:
    """One line of bounded length, without control characters."""
    text = _UNPRINTABLE.sub(" ", text[: 4 * _LONGEST_MESSAGE]).strip()
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def _name_status(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _after(seconds: float, now: datetime) -> datetime | None:
    if not math.isfinite(seconds):
        return None
    try:
        return now + timedelta(seconds=max(0.0, seconds))
    except OverflowError:
        return None


def _read_seconds(value: str, now: datetime) -> datetime | None:
    try:
        return _after(float(value), now)
    except ValueError:
        return None


def _read_milliseconds(value: str, now: datetime) -> datetime | None:
    try:
        return _after(float(value) / 1000, now)
    except ValueError:
        return None


def _read_http_date(value: str, _now: datetime) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_RESETS: tuple[tuple[str, Callable[[str, datetime], datetime | None]], ...] = (
    ("retry-after-ms", _read_milliseconds),
    ("retry-after", _read_seconds),
    ("retry-after", _read_http_date),
)


def _retry_at(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """The earliest time, in UTC, at which the provider wants to be asked again; None when it names none."""
    for header, read in _RESETS:
        if header in headers:
            at = read(headers[header], now)
            if at is not None:
                return at
    return None

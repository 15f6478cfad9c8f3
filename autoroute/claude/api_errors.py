"""What the program's errors mean: its structured fields -> one class of ``ProviderError``, its limit, its reset.

For a login nothing is read but those fields: the words are for people. Another provider's refusal is passed on by the
program in that provider's words, and read by that provider's tables, as it is on our own wires. Fields as of 2.1.330:
``error``, ``api_error``, ``api_error_type``, ``api_error_status`` and ``rate_limit_event``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    Limit,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.routing import ProviderProfile
from autoroute.wire.classification import CLASS_BY_STATUS, classify_response
from autoroute.wire.payload import as_object, as_text

KINDS: Mapping[str, type[ProviderError]] = MappingProxyType(
    {
        "authentication_failed": Unauthorized,
        "oauth_org_not_allowed": Unauthorized,
        "account_on_hold": Unauthorized,
        "verification_required": Unauthorized,
        "cloud_credential_error": Unauthorized,
        "billing_error": Billing,
        "rate_limit": Busy,
        "overloaded": Busy,
        "invalid_request": BadRequest,
        "model_not_found": NoSuchModel,
        "server_error": Unreachable,
        "max_output_tokens": BadReply,
    }
)
"""``error`` of an assistant event -> class. ``unknown`` is left to the status."""

WINDOWS: Mapping[str, tuple[Limit, bool]] = MappingProxyType(
    {
        "five_hour": ("five_hour", True),
        "seven_day": ("week", True),
        "seven_day_overage_included": ("week", False),  # of one family of models, whose plan includes some extra
        "seven_day_opus": ("week", False),
        "seven_day_sonnet": ("week", False),
        "overage": ("spend", True),
    }
)
"""``rateLimitType`` -> which limit, and whether it holds for every model of the account."""

_SPENT = "usage_limit_reached"
_TOO_LONG = "prompt_too_long"
_OVERLOADED = 529
_SHOWN = 2_400
_PREFACE = re.compile(r"^API Error: (?:Request rejected \(\d{3}\) · |\d{3} )?")
"""What stands before a vendor's own words; the status is told beside them."""


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """What is known of one of a subscription's windows. ``used`` is a part of it, from 0 to 1."""

    type: str
    status: str
    resets_at: datetime | None
    used: float | None = None

    @property
    def limit(self) -> Limit:
        """Which limit it is."""
        return WINDOWS.get(self.type, ("plan", True))[0]

    @property
    def whole_account(self) -> bool:
        """Whether it holds for every model."""
        return WINDOWS.get(self.type, ("plan", True))[1]


@dataclass(frozen=True, slots=True)
class PlanUsage:
    """What a ``rate_limit_event`` says of an account.

    The window that decides, all that are known, and whether it is used beyond them and paid for.
    """

    deciding: UsageWindow | None = None
    windows: tuple[UsageWindow, ...] = ()
    is_paid: bool = False


def read_usage(info: Mapping[str, Any]) -> PlanUsage:
    """The ``rate_limit_info`` of an event."""
    each = as_object(info.get("unifiedWindows"))
    windows = tuple(_window(name, as_object(window)) for name, window in each.items())
    name = as_text(info.get("rateLimitType"))
    deciding = _window(name, info) if name else None
    return PlanUsage(deciding, windows, info.get("isUsingOverage") is True)


def read_failure(
    said: Mapping[str, Any], usage: PlanUsage, profile: ProviderProfile, now: datetime | None = None
) -> ProviderError:
    """The error that an assistant event or a result reports; ``usage`` is the last that was said of the windows."""
    words = _words(said)
    status = said.get("api_error_status")
    status = status if isinstance(status, int) and not isinstance(status, bool) else None
    if not profile.logins and status is not None:
        return _of_gateway(said, status, words, profile, now or datetime.now(UTC))
    params = as_object(as_object(said.get("api_error_params")).get("rate_limit_info"))
    usage = read_usage(params) if params.get("rateLimitType") else usage
    kind = _kind(said, status, usage)
    window = usage.deciding if kind is LimitReached else None
    limit: Limit = window.limit if window else "overload" if kind is Busy and status == _OVERLOADED else ""
    return kind(
        words,
        status=status,
        code=next((code for name in ("api_error", "error", "api_error_type") if (code := as_text(said.get(name)))), ""),
        request_id=as_text(said.get("request_id")),
        retry_at=window.resets_at if window else None,
        limit=limit,
        whole_account=window.whole_account if window else False,
    )


def _kind(said: Mapping[str, Any], status: int | None, usage: PlanUsage) -> type[ProviderError]:
    error = as_text(said.get("error"))
    if as_text(said.get("terminal_reason")) == _TOO_LONG:
        return TooLong
    if as_text(said.get("api_error")) == _SPENT:
        return LimitReached
    if error == "rate_limit" and usage.deciding and usage.deciding.status == "rejected":
        return LimitReached
    if status == _OVERLOADED:
        return Busy
    if error in KINDS:
        return KINDS[error]
    if status is not None:
        by_range = Unreachable if status >= 500 else BadRequest if status >= 400 else BadReply
        return CLASS_BY_STATUS.get(status, by_range)
    # A connection that was lost has neither: it is the only thing left that is no answer.
    return Unreachable if error == "unknown" else BadReply


def _of_gateway(
    said: Mapping[str, Any], status: int, words: str, profile: ProviderProfile, now: datetime
) -> ProviderError:
    error = {"type": said.get("api_error_type"), "code": said.get("api_error"), "message": words}
    body = json.dumps({"error": {name: value for name, value in error.items() if value}}).encode()
    read = classify_response(status, {}, body, profile, now)
    read.request_id = as_text(said.get("request_id"))
    return read


def _words(said: Mapping[str, Any]) -> str:
    """What it says, in one line."""
    message = as_object(said.get("message"))
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    texts = [as_text(as_object(block).get("text")) for block in blocks]
    words = " ".join(filter(None, texts)) or as_text(said.get("result"))
    if not words and isinstance(said.get("errors"), list):
        words = "; ".join(str(error) for error in said["errors"])
    words = _PREFACE.sub("", " ".join(words.split()))
    return words[:_SHOWN] or f"claude ended with {as_text(said.get('subtype')) or 'an error'} and no words"


def _window(name: str, data: Mapping[str, Any]) -> UsageWindow:
    resets, used = data.get("resetsAt"), data.get("utilization")
    at = None
    if isinstance(resets, int | float) and not isinstance(resets, bool):
        try:
            at = datetime.fromtimestamp(resets, UTC)
        except (OverflowError, ValueError, OSError):
            at = None
    known = isinstance(used, int | float) and not isinstance(used, bool)
    return UsageWindow(name, as_text(data.get("status")), at, float(used) if known and used is not None else None)

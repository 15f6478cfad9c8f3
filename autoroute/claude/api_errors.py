"""The errors of Claude Code -> one class of ``ProviderError``, its limit and its reset.

For a login, only the structured fields decide; the words are for people. These are ``error``, ``api_error``,
``api_error_type``, ``api_error_status`` and ``rate_limit_event`` (as of 2.1.330). ``subtype`` does not count: a turn
that an API error ended has ``"success"`` there. Claude Code passes on the error of another provider in that provider's
words, so it is classified by that provider's tables, as on autoroute's own wires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from autoroute.claude.plan_usage import PlanUsage, read_usage
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
from autoroute.patterns import pattern
from autoroute.routing import ProviderProfile
from autoroute.wire.classification import CLASS_BY_STATUS, classify_response
from autoroute.wire.payload import as_list, as_object, as_text

ERROR_CLASSES: Mapping[str, type[ProviderError]] = MappingProxyType(
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

_USAGE_LIMIT = "usage_limit_reached"
_PROMPT_TOO_LONG = "prompt_too_long"
_OVERLOADED_STATUS = 529
_MAX_MESSAGE_CHARACTERS = 2_400
_MESSAGE_PREFIX = pattern(r"^API Error: (?:Request rejected \(\d{3}\) · |\d{3} )?")
"""What Claude Code puts before a vendor's own words. The status is shown beside them anyway."""


def read_error(
    fields: Mapping[str, object], usage: PlanUsage, profile: ProviderProfile, now: datetime | None = None
) -> ProviderError:
    """Return the error that an assistant event or a result reports. ``usage`` is the last known usage of the plan."""
    message = _message(fields)
    status = fields.get("api_error_status")
    status = status if isinstance(status, int) and not isinstance(status, bool) else None
    if not profile.logins and status is not None:
        return _gateway_error(fields, status, message, profile, now or datetime.now(UTC))
    params = as_object(as_object(fields.get("api_error_params")).get("rate_limit_info"))
    usage = read_usage(params) if params.get("rateLimitType") else usage
    kind = _error_class(fields, status, usage)
    window = usage.deciding if kind is LimitReached else None
    limit: Limit = window.limit if window else "overload" if kind is Busy and status == _OVERLOADED_STATUS else ""
    codes = (as_text(fields.get(name)) for name in ("api_error", "error", "api_error_type"))
    return kind(
        message,
        status=status,
        code=next(filter(None, codes), ""),
        request_id=as_text(fields.get("request_id")),
        retry_at=window.resets_at if window else None,
        limit=limit,
        whole_account=window.whole_account if window else False,
    )


def _error_class(fields: Mapping[str, object], status: int | None, usage: PlanUsage) -> type[ProviderError]:
    error = as_text(fields.get("error"))
    if as_text(fields.get("terminal_reason")) == _PROMPT_TOO_LONG:
        return TooLong
    if as_text(fields.get("api_error")) == _USAGE_LIMIT:
        return LimitReached
    # A burst limit is a `rate_limit` too; only a rejected window makes it a limit of the plan.
    if error == "rate_limit" and usage.deciding and usage.deciding.status == "rejected":
        return LimitReached
    if status == _OVERLOADED_STATUS:
        return Busy
    if error in ERROR_CLASSES:
        return ERROR_CLASSES[error]
    if status is not None:
        by_range = Unreachable if status >= 500 else BadRequest if status >= 400 else BadReply
        return CLASS_BY_STATUS.get(status, by_range)
    # A lost connection is the only error that Claude Code reports as `unknown` without a status.
    return Unreachable if error == "unknown" else BadReply


def _gateway_error(
    fields: Mapping[str, object], status: int, message: str, profile: ProviderProfile, now: datetime
) -> ProviderError:
    """Rebuild the provider's error body from the fields, and classify it by the provider's tables."""
    error = {"type": fields.get("api_error_type"), "code": fields.get("api_error"), "message": message}
    body = json.dumps({"error": {name: value for name, value in error.items() if value}}).encode()
    classified = classify_response(status, {}, body, profile, now)
    classified.request_id = as_text(fields.get("request_id"))
    return classified


def _message(fields: Mapping[str, object]) -> str:
    """Return the words of the error, in one line."""
    blocks = as_list(as_object(fields.get("message")).get("content"))
    texts = [as_text(as_object(block).get("text")) for block in blocks]
    message = " ".join(filter(None, texts)) or as_text(fields.get("result"))
    message = message or "; ".join(str(error) for error in as_list(fields.get("errors")))
    message = _MESSAGE_PREFIX.sub("", " ".join(message.split()))
    subtype = as_text(fields.get("subtype")) or "an error"
    return message[:_MAX_MESSAGE_CHARACTERS] or f"Claude Code ended with {subtype} and no message"

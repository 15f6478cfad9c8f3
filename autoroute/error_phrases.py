"""The names of limits and of classes of provider errors, as people read them on every screen and in receipts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoroute.errors import Limit

LIMITS: Mapping[Limit, str] = MappingProxyType(
    {
        "requests": "request rate limit",
        "tokens": "token rate limit",
        "concurrency": "limit of concurrent requests",
        "overload": "overload",
        "five_hour": "5-hour window",
        "day": "daily limit",
        "week": "weekly limit",
        "month": "monthly limit",
        "balance": "balance",
        "spend": "spending limit",
        "plan": "plan",
    }
)
"""A limit -> its name. "" has none: the error class is named instead."""

ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "ProviderError": "provider error",
        "Busy": "busy",
        "LimitReached": "usage limit",
        "Unreachable": "unavailable",
        "Unauthorized": "key refused",
        "Billing": "payment problem",
        "NoSuchModel": "unknown model",
        "TooLong": "conversation too long",
        "BadRequest": "request rejected",
        "BadReply": "unusable reply",
        "WrongModel": "wrong model",
    }
)
"""Name of an error class -> what went wrong, as a noun phrase."""

"""How errors of providers are worded for people: one table from error class to words, for every message and screen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoroute.errors import Limit, ProviderError

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

_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "ProviderError": "{provider} failed",
        "Busy": "{provider} throttled account {account}: {limit}",
        "LimitReached": "{provider} refused account {account}: {limit} used up",
        "Unreachable": "{provider} is unavailable",
        "Unauthorized": "{provider} refused the {credential} of account {account}",
        "Billing": "{provider} reported a payment problem with account {account}",
        "NoSuchModel": "{provider} does not offer {model} to account {account}",
        "TooLong": "the conversation is too long for {model} at {provider}",
        "BadRequest": "{provider} rejected the request as invalid",
        "BadReply": "{provider} sent an unusable reply",
        "WrongModel": "{provider} answered with a model other than {model}",
    }
)
"""Name of an error class -> what happened, as a sentence. Account and model are added where it does not name them."""


def describe_error(error: ProviderError, provider: str, *, credential: str = "key") -> str:
    """Return what happened, to whom, and the provider's own words, as one sentence.

    ``provider`` is the display name, such as Z.AI. ``credential`` is what its accounts have: ``key`` or ``login``.
    Example: ``Z.AI refused the key of account default (401 1002: Token Invalid), model glm-4.7``.
    """
    name = type(error).__name__
    sentence = _SENTENCES.get(name, _SENTENCES["ProviderError"])
    facts = {"account": error.account, "model": error.model}
    text = sentence.format(
        provider=provider,
        limit=LIMITS.get(error.limit) or ERRORS.get(name, name),
        credential=credential,
        **facts,
    )
    code = " ".join(str(part) for part in (error.status, error.code) if part)
    words = ": ".join(filter(None, (code, error.message)))
    added = [f", {fact} {value}" for fact, value in facts.items() if value and f"{{{fact}}}" not in sentence]
    return "".join((text, f" ({words})" if words else "", *added))

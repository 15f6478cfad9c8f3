"""What a provider's error means: status, headers and body -> a class of ``ProviderError``, its limit and its reset.

Sources are asked in this order: the profile's own ``errors`` table, the codes and types of the protocols, the headers
of a subscription, the phrases of errors without a code, the HTTP status. Codes with many meanings (``Busy`` and
``Unauthorized``) give way to a more specific source. Only error bodies are searched for phrases, never what a model
writes. How far away a reset is decides nothing: a 429 of a burst limit stays ``Busy`` however late it ends.

The keys of a profile's ``errors`` and ``limits`` are codes and types, an HTTP status (``403``) for a response of the
API without a better one, or a status with ``(no body)`` (``400 (no body)``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType

from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    ConfigError,
    Limit,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.patterns import pattern
from autoroute.redaction import Redactor
from autoroute.routing import ProviderProfile, Route, Secret
from autoroute.text import truncate
from autoroute.wire.error_bodies import ErrorBody, parse_error_body
from autoroute.wire.payload import as_object
from autoroute.wire.reset_times import find_reset_time, find_spent_limit, find_spent_plan, read_retry_after

_MAX_MESSAGE_LENGTH = 600
_MAX_DETAIL_LENGTH = 4000
_MAX_CODE_LENGTH = 100
_OVERLOAD_STATUSES = (503, 529)

ErrorClass = type[ProviderError]

_LIMIT_CLASSES: tuple[ErrorClass, ...] = (Busy, LimitReached, Billing)
"""The classes that mean a limit."""
_CLASS_BY_NAME: Mapping[str, ErrorClass] = {kind.__name__: kind for kind in ProviderError.__subclasses__()}

# https://platform.claude.com/docs/en/api/errors: `error.details.error_code` and `error.type`.
_ANTHROPIC: Mapping[str, ErrorClass] = {
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
    "usage_limit_reached": LimitReached,
    "model_context_window_exceeded": TooLong,
}

# https://platform.openai.com/docs/guides/error-codes: `error.code`, else `error.type`.
_OPENAI: Mapping[str, ErrorClass] = {
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
    "budget_exceeded": Billing,  # proxies: docs.litellm.ai/docs/proxy/users
    "content_filter": BadRequest,
    "content_policy_violation": BadRequest,
    # Errors of /v1/responses about the input, which would fail again. Its other codes pass with time.
    "invalid_prompt": BadRequest,
    "data_residency_mismatch": BadRequest,
    "bio_policy": BadRequest,
    "misalignment_policy_violation": BadRequest,
}

CLASS_BY_CODE: Mapping[str, ErrorClass] = MappingProxyType({**_ANTHROPIC, **_OPENAI})
"""Codes of both protocols: gateways and compatible servers use either's, whichever protocol the request used."""

LIMIT_BY_CODE: Mapping[str, Limit] = MappingProxyType(
    {
        "enforced_spend_limit_reached": "spend",
        "contract_spend_limit_reached": "spend",
        "linked_organization_spend_limit_reached": "spend",
        "overloaded_error": "overload",
        "server_is_overloaded": "overload",
        "slow_down": "requests",
        "insufficient_quota": "balance",
        "credit_balance_exhausted": "balance",
        "billing_hard_limit_reached": "spend",
        "organization_spend_limit_exceeded": "spend",
        "project_spend_limit_exceeded": "spend",
        "organization_usage_limit_exceeded": "spend",
        "budget_exceeded": "spend",
    }
)
"""Code -> the limit that it means, if it means one."""

_LIMIT_BY_COUNTED_TYPE: Mapping[str, Limit] = MappingProxyType({"requests": "requests", "tokens": "tokens"})
"""Types of OpenAI's 429, which do not say whether it counts by the minute or by the day; the message may."""

_BY_QUOTA_ID: tuple[tuple[str, ErrorClass, Limit], ...] = (
    ("PerDay", LimitReached, "day"),
    ("Token", Busy, "tokens"),
    ("Request", Busy, "requests"),
)
"""Part of the id of an exceeded quota (google.rpc.QuotaFailure) -> class and limit. A day outlasts all others."""

CLASS_BY_STATUS: Mapping[int, ErrorClass] = MappingProxyType(
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
"""What a status means without a more specific code; other 4xx are ``BadRequest``, other 5xx ``Unreachable``."""


@dataclass(frozen=True, slots=True)
class _Phrase:
    """The wording of an error that has no code of its own, the statuses it comes with, and what it means."""

    pattern: re.Pattern[str]
    statuses: frozenset[int]
    kind: ErrorClass
    limit: Limit = ""


def _phrase(expression: str, statuses: Iterable[int], kind: ErrorClass, limit: Limit = "") -> _Phrase:
    return _Phrase(pattern(expression, re.IGNORECASE), frozenset(statuses), kind, limit)


_PHRASES: tuple[_Phrase, ...] = (
    # Anthropic, as a plain `invalid_request_error`. The first is a cap that an organization or workspace set itself.
    _phrase("reached your specified (?:[^.]{0,40} )?usage limit", [400, 403, 429], Billing, "spend"),
    _phrase("credit balance is too low", [400, 402, 403], Billing, "balance"),
    _phrase("insufficient (?:account )?balance|insufficient credits", [400, 402, 403, 429], Billing, "balance"),
    _phrase("used all available credits|monthly spending limit", [402, 403, 429], Billing, "spend"),
    _phrase(r"\bmembership\b", [402], Billing, "plan"),
    _phrase("incorrect api key|api key not valid", [400], Unauthorized),
    # Kimi Code answers 403 to a valid key when a window of its plan is used up: https://www.kimi.com/code/docs/en/kimi-code/error-reference.html
    _phrase("reached your (?:[^.]{0,40} )?usage limit", [403, 429], LimitReached),
    _phrase("usage limit (?:reached|exceeded)|out of usage", [403, 429], LimitReached),
    _phrase("free-models-per-day", [429], LimitReached, "day"),
    # OpenRouter, for an input that a moderator refused: https://openrouter.ai/docs/api-reference/errors
    _phrase("requires moderation", [403], BadRequest),
)
"""Searched for when the error has no code, or one with many meanings. The first match counts."""

_GENERIC_CODES = frozenset(
    {
        "400",
        "invalid_request_error",
        "INVALID_ARGUMENT",
        "Client specified an invalid argument",  # xAI
        "BadRequestError",  # vLLM
        "None",  # LiteLLM, for an error that has no type
    }
)
"""Codes that any 400 may have. A 400 with another code is about the request, and may quote it: no phrase counts."""

_TOO_LONG = _phrase(
    r"prompt is too long|input is too long for requested model|exceeds the context window"
    r"|input token count.*exceeds the maximum|maximum prompt length is \d+|reduce the length of the messages"
    r"|maximum context length is \d+ tokens|exceeds the available context size"
    r"|\btoken[^.]{0,60} exceeds the limit of \d+|exceeds the limit of [\d,]+ tokens"  # other limits: tools, characters
    r"|greater than the context length|context window exceeds limit|exceeded model token limit"
    r"|too large for model with \d+ maximum context length|model_context_window_exceeded"
    r"|context[_ ]length[_ ]exceeded|request entity too large|context length is only \d+ tokens"
    r"|input length.*exceeds.*context length|current length is .* while limit is|exceed context limit"
    r"|(?:longer|larger) than the model's context length",
    [400, 413, 422, 500],
    TooLong,
)
"""How servers word that a conversation exceeds the model's context window; collected from opencode, pi and litellm."""

_TOO_LARGE = _phrase(r"request too large for .{1,300}requested \d+", [413, 429], TooLong)
"""How OpenAI and Groq word that one request exceeds the tokens of a whole minute. Its code is that of a rate limit, but
no wait helps."""


@dataclass(frozen=True, slots=True)
class _LimitPhrase:
    """The wording that names a limit, in errors of some classes."""

    pattern: re.Pattern[str]
    limit: Limit
    kinds: frozenset[ErrorClass]


def _limit_phrase(expression: str, limit: Limit, *kinds: ErrorClass) -> _LimitPhrase:
    return _LimitPhrase(pattern(expression, re.IGNORECASE), limit, frozenset(kinds))


_LIMIT_PHRASES: tuple[_LimitPhrase, ...] = (
    _limit_phrase(r"\bspend", "spend", *_LIMIT_CLASSES),
    _limit_phrase(r"\bbudget", "spend", Billing),
    _limit_phrase(r"\bbalance\b|\bcredits?\b", "balance", Billing),
    _limit_phrase(r"\b5[- ]hours?\b|\bfive[- ]hour\b", "five_hour", Busy, LimitReached),
    _limit_phrase(r"\bweekly\b|\b7[- ]day\b|\bper week\b", "week", Busy, LimitReached),
    _limit_phrase(r"\bmonthly\b|\bper month\b|billing cycle", "month", Busy, LimitReached),
    _limit_phrase(r"\bdaily\b|\bper[- ]day\b|byday|\b[rt]pd\b", "day", Busy, LimitReached),
    _limit_phrase(r"concurren|parallel requests", "concurrency", Busy, LimitReached),
    _limit_phrase(r"overload|\bcapacity\b|high demand", "overload", Busy),
    _limit_phrase(r"tokens?[- ]per[- ](?:min|sec)|\btp[ms]\b", "tokens", Busy, LimitReached),
    _limit_phrase(r"requests?[- ]per[- ](?:min|sec)|\brp[ms]\b", "requests", Busy, LimitReached),
)
"""Searched for when no code names the limit. The first match counts."""

_PAGE_HINTS: Mapping[int, str] = MappingProxyType(
    {
        401: "a gateway's login page responded instead of the API: check {places}",
        403: "a region block or a gateway responded instead of the API: check {places}",
        404: "a web server responded instead of the API: check base_url in [providers.{name}]",
    }
)
"""Status of an HTML page -> hint. No API responds with HTML."""
_PLACES = "your network, the proxy variables (HTTPS_PROXY) and base_url in [providers.{name}]"
"""What to check when the API could not be reached."""


@dataclass(frozen=True, slots=True)
class _ErrorResponse:
    """A response that reports an error. In a stream the status is 200, and the headers are those of the body alone."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: ErrorBody

    @property
    def table_keys(self) -> list[str]:
        """The keys under which a profile may list the error, the most specific first."""
        keys = list(self.body.codes)
        if self.body.form == "empty":
            keys.append(f"{self.status} (no body)")
        if self.body.form != "page":
            keys.append(str(self.status))
        return keys

    @property
    def real_status(self) -> int:
        """The status that it would have outside a stream: gateways put that of the real error into the code."""
        if self.status >= HTTPStatus.BAD_REQUEST:
            return self.status
        if "invalid_request_error" in self.body.codes:
            return HTTPStatus.BAD_REQUEST
        codes = (code for code in self.body.codes if re.fullmatch("[45][0-9][0-9]", code))
        return next(map(int, codes), self.status)

    def matches(self, phrase: _Phrase) -> bool:
        """Return whether the message has a phrase, with one of its statuses; in a stream without status, with any."""
        fits = self.real_status in phrase.statuses or self.real_status < HTTPStatus.BAD_REQUEST
        return fits and self.body.form != "page" and bool(phrase.pattern.search(self.body.message))


@dataclass(frozen=True, slots=True)
class _Classification:
    """The class of an error, None if it is not one, and the limit that comes with the class, "" for none."""

    kind: ErrorClass | None
    limit: Limit = ""


def classify_response(
    status: int, headers: Mapping[str, str], body: bytes, profile: ProviderProfile, now: datetime
) -> ProviderError:
    """Return the error that an HTTP response means. ``headers`` has lower-case names, ``now`` is in UTC.

    With a status below 400 the response should have been a stream: it is a ``BadReply`` unless its body reports an
    error. The message is all that the provider wrote, keys included: ``annotate_error`` makes it fit to be shown.
    """
    text = body.decode("utf-8", "replace")
    parsed = parse_error_body(text)
    response = _ErrorResponse(status, {**parsed.headers, **dict(headers.items())}, text, parsed)
    found = _classify(response, profile)
    if found.kind is None:
        return _make_error(response, profile, now, BadReply, "", "the response is not a stream")
    return _make_error(response, profile, now, found.kind, found.limit, _describe_status(status))


def classify_event(text: str, profile: ProviderProfile, now: datetime | None = None) -> ProviderError:
    """Return the error that an event inside a stream reports; ``Unreachable`` for one that is not known."""
    parsed = parse_error_body(text)
    response = _ErrorResponse(HTTPStatus.OK, parsed.headers, text, parsed)
    found = _classify(response, profile)
    message = "the provider reported an error in the stream"
    return _make_error(response, profile, now or datetime.now(UTC), found.kind or Unreachable, found.limit, message)


def is_error_event(data: Mapping[str, object]) -> bool:
    """Return whether an event of a stream reports an error, in any protocol or as MiniMax does (``base_resp``)."""
    return bool(data.get("error")) or bool(as_object(data.get("base_resp")).get("status_code"))


def annotate_error(
    error: ProviderError,
    profile: ProviderProfile,
    route: Route,
    secret: Secret | None,
    redactor: Redactor | None = None,
) -> None:
    """Add the route and a hint to an error, redact every key in it, and only then truncate it.

    A key that truncation went through could no longer be recognized.
    """
    error.provider, error.model, error.account = profile.name, route.model, route.account
    error.__cause__ = error.__context__ = None  # exceptions of httpx hold the request, and its headers the key
    error.hint = error.hint or _hint(error, profile, secret)
    redact = redactor.redact if redactor else secret.redact if secret else str
    for field in ("message", "hint", "code", "detail", "request_id"):
        setattr(error, field, redact(getattr(error, field)))
    error.message = truncate(error.message, _MAX_MESSAGE_LENGTH)
    error.code, error.detail = error.code[:_MAX_CODE_LENGTH], error.detail[:_MAX_DETAIL_LENGTH]
    error.args = (error.message,)


def check_error_table(profile: ProviderProfile) -> None:
    """Raise ``ConfigError`` when the profile's ``errors`` contains an unknown class."""
    for code, name in profile.errors.items():
        if name not in _CLASS_BY_NAME:
            raise ConfigError(
                f"unknown error class {name!r} for {code} in [providers.{profile.name}.errors]",
                hint=f"use one of {', '.join(sorted(_CLASS_BY_NAME))}",
            )


def _hint(error: ProviderError, profile: ProviderProfile, secret: Secret | None) -> str:
    """Return what the user can do about an error: the profile's hint for its code, else that of its class."""
    if error.code in profile.hints:
        return profile.hints[error.code]
    title = profile.title or profile.name
    match error:
        case Unauthorized() if profile.auth == "none" and not profile.platform:
            return f"{title} requires a key: set auth and key_env in [providers.{profile.name}]"
        case Unauthorized():
            source = f"the key in {secret.source}" if secret else f"your key for {title}"
            page = f" (create one at {profile.key_page})" if profile.key_page else ""
            return f"check {source}{page}, or store another one: autoroute login {profile.name}"
        case Billing():
            return f"check your balance and plan at {title}, or choose another route"
        case NoSuchModel():
            return f"choose a model that {title} serves, as {profile.name}/MODEL: autoroute models {profile.name}"
        case Unreachable() if error.status is None:
            return f"check {_PLACES}".format(name=profile.name)
        case Unreachable():
            return f"the error is at {title}: try again later, or choose another route"
    return ""


def _make_error(
    response: _ErrorResponse,
    profile: ProviderProfile,
    now: datetime,
    kind: ErrorClass,
    limit: Limit,
    default_message: str,
) -> ProviderError:
    """Return the error; ``default_message`` is for a body without a message."""
    body = response.body
    listed = (code for code in body.codes if code in profile.errors or code in profile.limits)
    limit = _find_limit(response, profile, kind, limit)
    hint = _PAGE_HINTS.get(response.status, "") if body.form == "page" else ""
    return kind(
        body.message or default_message,
        status=response.status,
        code=next(listed, next(iter(body.codes), "")),
        request_id=body.request_id,
        retry_at=_find_retry_at(response, profile, now, kind, limit),
        limit=limit,
        detail=response.text,
        hint=hint.format(name=profile.name, places=_PLACES.format(name=profile.name)),
    )


def _classify(response: _ErrorResponse, profile: ProviderProfile) -> _Classification:
    """Return the class of an error, and its limit where that comes with the class."""
    own = next((key for key in response.table_keys if key in profile.errors), "")
    common = next((CLASS_BY_CODE[code] for code in response.body.codes if code in CLASS_BY_CODE), None)
    kind = _CLASS_BY_NAME[profile.errors[own]] if own else common
    if kind in (None, BadRequest) and response.matches(_TOO_LONG):
        return _Classification(TooLong)
    if kind in (None, Busy) and response.matches(_TOO_LARGE):
        return _Classification(TooLong)
    if own or kind not in (None, Busy, Unauthorized):
        return _Classification(kind)
    return (
        _classify_by_plan(response)
        or _classify_by_quota(response)
        or _classify_by_phrase(response)
        or _Classification(kind or _class_by_status(response))
    )


def _classify_by_plan(response: _ErrorResponse) -> _Classification | None:
    plan = find_spent_plan(response.headers) if response.status == HTTPStatus.TOO_MANY_REQUESTS else None
    return _Classification(LimitReached, plan.limit) if plan else None


def _classify_by_quota(response: _ErrorResponse) -> _Classification | None:
    ids = response.body.quotas
    found = (_Classification(kind, limit) for part, kind, limit in _BY_QUOTA_ID if any(part in id for id in ids))
    return next(found, None)


def _classify_by_phrase(response: _ErrorResponse) -> _Classification | None:
    if response.real_status == HTTPStatus.BAD_REQUEST and not _GENERIC_CODES.issuperset(response.body.codes):
        return None
    matching = (phrase for phrase in _PHRASES if response.matches(phrase))
    return next((_Classification(phrase.kind, phrase.limit) for phrase in matching), None)


def _class_by_status(response: _ErrorResponse) -> ErrorClass | None:
    status = response.real_status
    if status in CLASS_BY_STATUS:
        return CLASS_BY_STATUS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable
    if status >= HTTPStatus.BAD_REQUEST:
        return BadRequest
    return Unreachable if response.body.codes else None


def _find_limit(response: _ErrorResponse, profile: ProviderProfile, kind: ErrorClass, limit: Limit) -> Limit:
    """Return the limit that an error means: by profile, class, code, message, headers or status, in this order."""
    if kind not in _LIMIT_CLASSES:
        return ""
    codes, message = response.body.codes, response.body.message
    found: list[Limit] = [profile.limits[key] for key in response.table_keys if key in profile.limits]
    found.append(limit)
    found += [LIMIT_BY_CODE[code] for code in codes if code in LIMIT_BY_CODE]
    found += [row.limit for row in _LIMIT_PHRASES if kind in row.kinds and row.pattern.search(message)]
    found += [_LIMIT_BY_COUNTED_TYPE[code] for code in codes if code in _LIMIT_BY_COUNTED_TYPE]
    if kind is Busy and response.status in _OVERLOAD_STATUSES:
        found.append("overload")
    elif kind is not Billing:
        found.append(find_spent_limit(response.headers))
    return next((one for one in found if one), "")


def _find_retry_at(
    response: _ErrorResponse, profile: ProviderProfile, now: datetime, kind: ErrorClass, limit: Limit
) -> datetime | None:
    """Return when to ask again. Times in a body count for limits only: a ``BadRequest`` may quote the request."""
    if kind not in _LIMIT_CLASSES:
        return read_retry_after(response.headers, now)
    body = response.body
    # Google sends a delay of seconds with the quota of a day, which ends hours before the quota's reset.
    is_ignored = body.form == "page" or any("PerDay" in id for id in body.quotas)
    return find_reset_time(
        response.headers,
        () if is_ignored else body.times,
        "" if is_ignored else body.message,
        now,
        # A balance does not come back when a window of requests or tokens is reset.
        limit="" if kind is Billing else limit,
        plan=find_spent_plan(response.headers) if kind is LimitReached else None,
        utc_offset=profile.utc_offset,
    )


def _describe_status(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"

"""What a provider's refusal means: status, headers and body -> one class of ``ProviderError``, its limit, its reset.

Asked in this order: the profile's own ``errors`` table, the codes and types of the wire families, the headers of a
subscription, the phrases of failures that have no code, the HTTP status. Codes that families give many things (``Busy``
and ``Unauthorized``) wait for what says more. Words are read in error bodies only, never in what a model says. How far
off a reset is decides nothing: a 429 of a burst limit stays ``Busy`` however late it ends.

The keys of a profile's ``errors`` and ``limits`` are codes and types, an HTTP status (``403``) for an answer of the API
without a better one, or a status with ``(no body)`` (``400 (no body)``).
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
from autoroute.redaction import Redactor
from autoroute.routing import ProviderProfile, Route, Secret
from autoroute.text import truncate
from autoroute.wire.error_bodies import ErrorBody, parse_error_body
from autoroute.wire.payload import as_object
from autoroute.wire.reset_times import find_reset_time, find_spent_limit, find_spent_plan, read_retry_after

_LONGEST_MESSAGE = 600
_LONGEST_DETAIL = 4000
_LONGEST_CODE = 100
_OVERLOADS = (503, 529)

Kind = type[ProviderError]

_LIMITED: tuple[Kind, ...] = (Busy, LimitReached, Billing)
"""The classes that stand for a limit."""
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
    "usage_limit_reached": LimitReached,
    "model_context_window_exceeded": TooLong,
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
    "budget_exceeded": Billing,  # proxies: docs.litellm.ai/docs/proxy/users
    "content_filter": BadRequest,
    "content_policy_violation": BadRequest,
    # Responses that failed for their input, which would fail again; their other codes pass with time.
    "invalid_prompt": BadRequest,
    "data_residency_mismatch": BadRequest,
    "bio_policy": BadRequest,
    "misalignment_policy_violation": BadRequest,
}

CLASS_BY_CODE: Mapping[str, Kind] = MappingProxyType({**_ANTHROPIC, **_OPENAI})
"""Both families at once: gateways and compatible servers answer in either's words, whatever they were asked in."""

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
"""Code -> which limit it means, where it means one."""

_COUNTED: Mapping[str, Limit] = MappingProxyType({"requests": "requests", "tokens": "tokens"})
"""Types of OpenAI's 429, which leave open whether it counts by the minute or by the day; words may say it."""

_QUOTAS: tuple[tuple[str, Kind, Limit], ...] = (
    ("PerDay", LimitReached, "day"),
    ("Token", Busy, "tokens"),
    ("Request", Busy, "requests"),
)
"""What is in the id of a quota that failed (google.rpc.QuotaFailure); that of a day outlasts all others."""

CLASS_BY_STATUS: Mapping[int, Kind] = MappingProxyType(
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


@dataclass(frozen=True, slots=True)
class _Phrase:
    """What an error means that has no code of its own: its words, and the statuses that it comes with."""

    words: re.Pattern[str]
    statuses: frozenset[int]
    kind: Kind
    limit: Limit = ""


def _phrase(words: str, statuses: Iterable[int], kind: Kind, limit: Limit = "") -> _Phrase:
    return _Phrase(re.compile(words, re.IGNORECASE), frozenset(statuses), kind, limit)


_PHRASES: tuple[_Phrase, ...] = (
    # Plain `invalid_request_error`. The first is Anthropic's cap that an organization or a workspace sets for itself.
    _phrase("reached your specified (?:[^.]{0,40} )?usage limit", [400, 403, 429], Billing, "spend"),
    _phrase("credit balance is too low", [400, 402, 403], Billing, "balance"),
    _phrase("insufficient (?:account )?balance|insufficient credits", [400, 402, 403, 429], Billing, "balance"),
    _phrase("used all available credits|monthly spending limit", [402, 403, 429], Billing, "spend"),
    _phrase(r"\bmembership\b", [402], Billing, "plan"),
    _phrase("incorrect api key|api key not valid", [400], Unauthorized),
    # Plans for agents, which say 403 to a good key: https://www.kimi.com/code/docs/en/kimi-code/error-reference.html
    _phrase("reached your (?:[^.]{0,40} )?usage limit", [403, 429], LimitReached),
    _phrase("usage limit (?:reached|exceeded)|out of usage", [403, 429], LimitReached),
    _phrase("free-models-per-day", [429], LimitReached, "day"),
    # https://openrouter.ai/docs/api-reference/errors: an input that a moderator refused
    _phrase("requires moderation", [403], BadRequest),
)
"""Looked for where no code, or one that stands for many things, came. First match counts."""

_PLAIN = frozenset(
    {
        "400",
        "invalid_request_error",
        "INVALID_ARGUMENT",
        "Client specified an invalid argument",  # xAI
        "BadRequestError",  # vLLM
        "None",  # LiteLLM, for an error that has no type
    }
)
"""What any 400 may have for a code. One that has a code of its own is about the request, and may quote it."""

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
"""How the servers of each family say that a conversation is longer than the model's window."""

_TOO_LARGE = _phrase(r"request too large for .{1,300}requested \d+", [413, 429], TooLong)
"""How OpenAI and Groq say that one request has more tokens than a whole minute may: by its code a rate limit, but one
that no wait ends."""


@dataclass(frozen=True, slots=True)
class _LimitWords:
    """Words that tell which limit it was, in errors of some classes."""

    words: re.Pattern[str]
    limit: Limit
    kinds: frozenset[Kind]


def _limit_words(words: str, limit: Limit, *kinds: Kind) -> _LimitWords:
    return _LimitWords(re.compile(words, re.IGNORECASE), limit, frozenset(kinds))


_LIMIT_WORDS: tuple[_LimitWords, ...] = (
    _limit_words(r"\bspend", "spend", *_LIMITED),
    _limit_words(r"\bbudget", "spend", Billing),
    _limit_words(r"\bbalance\b|\bcredits?\b", "balance", Billing),
    _limit_words(r"\b5[- ]hours?\b|\bfive[- ]hour\b", "five_hour", Busy, LimitReached),
    _limit_words(r"\bweekly\b|\b7[- ]day\b|\bper week\b", "week", Busy, LimitReached),
    _limit_words(r"\bmonthly\b|\bper month\b|billing cycle", "month", Busy, LimitReached),
    _limit_words(r"\bdaily\b|\bper[- ]day\b|byday|\b[rt]pd\b", "day", Busy, LimitReached),
    _limit_words(r"concurren|parallel requests", "concurrency", Busy, LimitReached),
    _limit_words(r"overload|\bcapacity\b|high demand", "overload", Busy),
    _limit_words(r"tokens?[- ]per[- ](?:min|sec)|\btp[ms]\b", "tokens", Busy, LimitReached),
    _limit_words(r"requests?[- ]per[- ](?:min|sec)|\brp[ms]\b", "requests", Busy, LimitReached),
)
"""Looked for where no code says which limit it was. First match counts."""

_PAGES: Mapping[int, str] = MappingProxyType(
    {
        401: "a gateway's log-in answered, not the API: check the network, the proxy variables and base_url",
        403: "a region block or a gateway answered, not the API: check the network, the proxy variables and base_url",
        404: "a web server answered, not the API: check base_url",
    }
)
"""Status of an HTML page -> what mends it. No API answers with HTML."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that is no reply. In a stream the status is 200, and the headers are those of the complaint alone."""

    status: int
    headers: Mapping[str, str]
    text: str
    complaint: ErrorBody

    @property
    def names(self) -> list[str]:
        """The keys under which a profile may have the error, the most specific first."""
        names = list(self.complaint.codes)
        if self.complaint.form == "empty":
            names.append(f"{self.status} (no body)")
        if self.complaint.form != "page":
            names.append(str(self.status))
        return names

    @property
    def real_status(self) -> int:
        """What its status would have been outside a stream: gateways put that of the real failure into the code."""
        if self.status >= HTTPStatus.BAD_REQUEST:
            return self.status
        if "invalid_request_error" in self.complaint.codes:
            return HTTPStatus.BAD_REQUEST
        codes = (code for code in self.complaint.codes if re.fullmatch("[45][0-9][0-9]", code))
        return next(map(int, codes), self.status)

    def says(self, phrase: _Phrase) -> bool:
        """Whether it says a phrase with one of the phrase's statuses; in a stream, where there is none, with any."""
        fits = self.real_status in phrase.statuses or self.real_status < HTTPStatus.BAD_REQUEST
        return fits and self.complaint.form != "page" and bool(phrase.words.search(self.complaint.message))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What an error is: its class, None for what is no error, and which limit it means, "" when that is left open."""

    kind: Kind | None
    limit: Limit = ""


def classify_response(
    status: int, headers: Mapping[str, str], body: bytes, profile: ProviderProfile, now: datetime
) -> ProviderError:
    """The error that an HTTP answer stands for. ``headers`` has lower-case names, ``now`` is in UTC.

    With a status below 400 the answer should have been a stream; it is a ``BadReply`` unless its body names an error.
    It says all that the provider said: ``annotate_error`` makes it fit to be shown.
    """
    text = body.decode("utf-8", "replace")
    complaint = parse_error_body(text)
    answer = _Answer(status, {**complaint.headers, **dict(headers.items())}, text, complaint)
    verdict = _judge(answer, profile)
    if verdict.kind is None:
        return _error(answer, profile, now, BadReply, "", "the answer is no stream")
    return _error(answer, profile, now, verdict.kind, verdict.limit, _name_status(status))


def classify_event(text: str, profile: ProviderProfile, now: datetime | None = None) -> ProviderError:
    """The error that the data of an event inside a stream stands for; ``Unreachable`` when nothing is known of it."""
    complaint = parse_error_body(text)
    answer = _Answer(HTTPStatus.OK, complaint.headers, text, complaint)
    verdict = _judge(answer, profile)
    words = "the provider reported an error in its answer"
    return _error(answer, profile, now or datetime.now(UTC), verdict.kind or Unreachable, verdict.limit, words)


def is_error_event(data: Mapping[str, object]) -> bool:
    """Whether an event of a stream reports an error, in the way of any family."""
    return bool(data.get("error")) or bool(as_object(data.get("base_resp")).get("status_code"))


def annotate_error(
    error: ProviderError,
    profile: ProviderProfile,
    route: Route,
    secret: Secret | None,
    redactor: Redactor | None = None,
) -> None:
    """Say in the error whom it concerns, make sure that nothing in it holds a key, and then only shorten it.

    What is cut through is no key to whoever looks for one.
    """
    error.provider, error.model, error.account = profile.name, route.model, route.account
    error.__cause__ = error.__context__ = None  # the transport's exceptions know the request and its headers
    error.hint = error.hint or _hint(error, profile, secret)
    redact = redactor.redact if redactor else secret.redact if secret else str
    for field in ("message", "hint", "code", "detail", "request_id"):
        setattr(error, field, redact(getattr(error, field)))
    error.message = truncate(error.message, _LONGEST_MESSAGE)
    error.code, error.detail = error.code[:_LONGEST_CODE], error.detail[:_LONGEST_DETAIL]
    error.args = (error.message,)


def _hint(error: ProviderError, profile: ProviderProfile, secret: Secret | None) -> str:
    if error.code in profile.hints:
        return profile.hints[error.code]
    match error:
        case Unauthorized():
            source = f"the key in {secret.source}" if secret else "its key"
            return f"check {source}" + (f"; keys are made at {profile.key_page}" if profile.key_page else "")
        case Billing():
            return f"check balance and plan of {profile.title or profile.name}, or choose another route"
        case NoSuchModel():
            return f"name a model that it serves: {profile.name}/MODEL"
        case Unreachable():
            return f"check the network, the proxy variables and base_url in [providers.{profile.name}]"
    return ""


def check_error_table(profile: ProviderProfile) -> None:
    """Raise ``ConfigError`` when the profile's ``errors`` names a class that does not exist."""
    for code, name in profile.errors.items():
        if name not in _KINDS:
            raise ConfigError(
                f"[providers.{profile.name}.errors] {code} = {name!r} is no class of error",
                hint=f"use one of {', '.join(sorted(_KINDS))}",
            )


def _error(
    answer: _Answer, profile: ProviderProfile, now: datetime, kind: Kind, limit: Limit, otherwise: str
) -> ProviderError:
    """The error itself; ``otherwise`` is what it says when the provider says nothing."""
    complaint = answer.complaint
    known = (code for code in complaint.codes if code in profile.errors or code in profile.limits)
    limit = _limit(answer, profile, kind, limit)
    return kind(
        complaint.message or otherwise,
        status=answer.status,
        code=next(known, next(iter(complaint.codes), "")),
        request_id=complaint.request_id,
        retry_at=_retry_at(answer, profile, now, kind, limit),
        limit=limit,
        detail=answer.text,
        hint=_PAGES.get(answer.status, "") if complaint.form == "page" else "",
    )


def _judge(answer: _Answer, profile: ProviderProfile) -> _Verdict:
    """The class of an error, and its limit where that comes with the class."""
    own = next((name for name in answer.names if name in profile.errors), "")
    common = next((CLASS_BY_CODE[code] for code in answer.complaint.codes if code in CLASS_BY_CODE), None)
    kind = _KINDS[profile.errors[own]] if own else common
    if kind in (None, BadRequest) and answer.says(_TOO_LONG):
        return _Verdict(TooLong)
    if kind in (None, Busy) and answer.says(_TOO_LARGE):
        return _Verdict(TooLong)
    if own or kind not in (None, Busy, Unauthorized):
        return _Verdict(kind)
    return _by_plan(answer) or _by_quota(answer) or _by_words(answer) or _Verdict(kind or _by_status(answer))


def _by_plan(answer: _Answer) -> _Verdict | None:
    plan = find_spent_plan(answer.headers) if answer.status == HTTPStatus.TOO_MANY_REQUESTS else None
    return _Verdict(LimitReached, plan.limit) if plan else None


def _by_quota(answer: _Answer) -> _Verdict | None:
    ids = answer.complaint.quotas
    found = (_Verdict(kind, limit) for part, kind, limit in _QUOTAS if any(part in id for id in ids))
    return next(found, None)


def _by_words(answer: _Answer) -> _Verdict | None:
    if answer.real_status == HTTPStatus.BAD_REQUEST and not _PLAIN.issuperset(answer.complaint.codes):
        return None
    return next((_Verdict(phrase.kind, phrase.limit) for phrase in _PHRASES if answer.says(phrase)), None)


def _by_status(answer: _Answer) -> Kind | None:
    status = answer.real_status
    if status in CLASS_BY_STATUS:
        return CLASS_BY_STATUS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable
    if status >= HTTPStatus.BAD_REQUEST:
        return BadRequest
    return Unreachable if answer.complaint.codes else None


def _limit(answer: _Answer, profile: ProviderProfile, kind: Kind, limit: Limit) -> Limit:
    """Which limit an error means: by the profile, the class, the code, the words, the headers, the status."""
    if kind not in _LIMITED:
        return ""
    codes, message = answer.complaint.codes, answer.complaint.message
    found: list[Limit] = [profile.limits[name] for name in answer.names if name in profile.limits]
    found.append(limit)
    found += [LIMIT_BY_CODE[code] for code in codes if code in LIMIT_BY_CODE]
    found += [row.limit for row in _LIMIT_WORDS if kind in row.kinds and row.words.search(message)]
    found += [_COUNTED[code] for code in codes if code in _COUNTED]
    if kind is Busy and answer.status in _OVERLOADS:
        found.append("overload")
    elif kind is not Billing:
        found.append(find_spent_limit(answer.headers))
    return next((one for one in found if one), "")


def _retry_at(answer: _Answer, profile: ProviderProfile, now: datetime, kind: Kind, limit: Limit) -> datetime | None:
    """When to ask again. What a body says of that counts for limits only: a ``BadRequest`` may quote the request."""
    if kind not in _LIMITED:
        return read_retry_after(answer.headers, now)
    complaint = answer.complaint
    # The delay that comes with the quota of a day is for whoever tries anyway: it ends hours before the quota's reset.
    silent = complaint.form == "page" or any("PerDay" in id for id in complaint.quotas)
    return find_reset_time(
        answer.headers,
        () if silent else complaint.times,
        "" if silent else complaint.message,
        now,
        # Money does not come back with the windows of the clock.
        limit="" if kind is Billing else limit,
        plan=find_spent_plan(answer.headers) if kind is LimitReached else None,
        utc_offset=profile.utc_offset,
    )


def _name_status(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"

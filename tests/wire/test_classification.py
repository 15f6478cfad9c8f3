import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    ConfigError,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
)
from autoroute.providers.builtin import load_profiles
from autoroute.routing import Route
from autoroute.wire.classification import (
    CLASS_BY_CODE,
    CLASS_BY_STATUS,
    LIMIT_BY_CODE,
    annotate_error,
    check_error_table,
    classify_event,
    classify_response,
    is_error_event,
)
from tests.wire.speakers import profile

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PLAIN = profile("anthropic-messages")
TABLED = profile(
    "anthropic-messages", errors={"1308": "LimitReached", "1211": "NoSuchModel", "overloaded_error": "Busy"}
)


def classify(status: int, body: Any, headers: dict[str, str] | None = None, profile: Any = PLAIN) -> ProviderError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_response(status, headers or {}, content, profile, NOW)


def anthropic(type: str, message: str = "words", code: str | None = None) -> dict[str, Any]:
    details = {"error_code": code} if code else None
    return {"type": "error", "error": {"type": type, "message": message, "details": details}, "request_id": "req_1"}


def openai(type: str | None, code: Any = None, message: str = "words") -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, anthropic("invalid_request_error"), BadRequest, "invalid_request_error"),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access"), Billing, None),
        (400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), TooLong, None),
        (400, anthropic("invalid_request_error", code="organization_on_hold"), Unauthorized, "organization_on_hold"),
        (401, anthropic("authentication_error"), Unauthorized, None),
        (402, anthropic("billing_error"), Billing, None),
        (403, anthropic("permission_error"), Unauthorized, None),
        (404, anthropic("not_found_error"), NoSuchModel, None),
        (409, anthropic("conflict_error"), Unreachable, None),
        (413, anthropic("request_too_large"), TooLong, None),
        (429, anthropic("rate_limit_error"), Busy, None),
        (429, anthropic("rate_limit_error", code="enforced_spend_limit_reached"), Billing, None),
        (429, anthropic("rate_limit_error", code="ramp_limit_exceeded"), Busy, None),
        (500, anthropic("api_error"), Unreachable, None),
        (504, anthropic("timeout_error"), Unreachable, None),
        (529, anthropic("overloaded_error"), Busy, None),
        (401, openai("invalid_request_error"), Unauthorized, None),
        (401, openai("invalid_request_error", "invalid_api_key"), Unauthorized, "invalid_api_key"),
        (404, openai("invalid_request_error", "model_not_found"), NoSuchModel, None),
        (400, openai("invalid_request_error", "context_length_exceeded"), TooLong, None),
        (429, openai("requests", "rate_limit_exceeded"), Busy, None),
        (429, openai("insufficient_quota", "credit_balance_exhausted"), Billing, "credit_balance_exhausted"),
        (429, openai("insufficient_quota"), Billing, "insufficient_quota"),
        (503, openai("server_error", "server_is_overloaded"), Busy, None),
        (402, openai(None, 402), Billing, "402"),
        (422, openai(None), BadRequest, ""),
        (418, b"", BadRequest, ""),
        (501, b"", Unreachable, ""),
        (400, [openai("x", "context_length_exceeded")], TooLong, None),
        (429, "plain string", Busy, ""),
        (502, b"upstream", Unreachable, ""),
        (429, b"", Busy, ""),
        (200, {"code": 500, "msg": "404 NOT_FOUND", "success": False}, Unreachable, "500"),
        (200, {"code": 401, "msg": "token expired", "success": False}, Unauthorized, "401"),
        (200, anthropic("overloaded_error"), Busy, None),
        (200, {"type": "message", "content": []}, BadReply, ""),
        (200, {"object": "response", "status": "completed", "output": []}, BadReply, ""),
    ],
)
def test_a_response_gets_one_class(status: int, body: Any, kind: type[ProviderError], code: str | None) -> None:
    error = classify(status, body)
    assert type(error) is kind
    assert error.status == status
    assert code is None or error.code == code


@pytest.mark.parametrize("code", CLASS_BY_CODE)
def test_every_code_is_read_wherever_either_protocol_puts_it(code: str) -> None:
    bodies = [anthropic(code), anthropic("x", code=code), openai(code), openai("x", code)]
    assert {type(classify(418, body)) for body in bodies} == {CLASS_BY_CODE[code]}
    assert type(classify_event(json.dumps(openai("x", code)), PLAIN)) is CLASS_BY_CODE[code]


@pytest.mark.parametrize("status", CLASS_BY_STATUS)
def test_every_status_means_a_class_without_a_body(status: int) -> None:
    error = classify(status, b"")
    assert type(error) is CLASS_BY_STATUS[status]
    assert error.message.startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_of_an_error_has_a_class(status: int) -> None:
    assert type(classify(status, b"{}")) is not BadReply


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "1308", "message": "Limit of use reached"}},
        {"error": {"code": 1308, "message": "Limit of use reached"}},
        anthropic("rate_limit_error", "[1308][Limit of use reached][2026-trace]"),
    ],
)
def test_the_profiles_own_table_comes_first(body: Any) -> None:
    error = classify(429, body, profile=TABLED)
    assert type(error) is LimitReached
    assert (error.code, error.message) == ("1308", "Limit of use reached")
    assert type(classify(429, body)) is Busy


def test_an_error_table_with_an_unknown_class_is_rejected() -> None:
    check_error_table(TABLED)
    with pytest.raises(ConfigError, match="LimitReachd") as caught:
        check_error_table(profile("openai-chat", errors={"1308": "LimitReachd"}))
    assert "LimitReached" in caught.value.hint


def test_the_message_is_the_providers_own() -> None:
    error = classify(529, anthropic("overloaded_error", "Over\nloaded\x1b[31m  now"))
    assert error.message == "Over loaded [31m now"
    assert error.request_id == "req_1"
    assert "overloaded_error" in error.detail


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"<html><head><title>502 Bad\n Gateway &amp; so</title></head>",
            "the server responded with an HTML page: 502 Bad Gateway & so",
        ),
        (b"  <!doctype html><p>hm", "the server responded with an HTML page"),
        (b"upstream died", "upstream died"),
        (b'"a string"', "a string"),
        (b'{"error": "a string"}', "a string"),
        (b'{"detail": "fast"}', "fast"),
        (b'[{"error": {"message": "in a list"}}]', "in a list"),
        (b"[]", "HTTP 502 Bad Gateway"),
        (b"null", "HTTP 502 Bad Gateway"),
        (b"[" * 100_000, "["),
        (b'{"error":{"message":"deep","metadata":{"raw":' * 900 + b"1" + b"}}}" * 900, ""),
        (b"x" * 5000, "x"),
    ],
)
def test_a_body_of_any_form_is_read(body: bytes, message: str) -> None:
    error = classify(502, body)
    assert type(error) is Unreachable
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "Mon, 23 Nov 2026 12:01:00 GMT"}, 60),
        ({"retry-after": "Mon, 23 Nov 2026 12:01:00 -0000"}, 60),
        ({"retry-after": "Mon, 23 Nov 2026 14:01:00 +0200"}, 60),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e30"}, None),
        ({"retry-after": "Mon, 99 Nov 2026 12:01:00 GMT"}, None),
    ],
)
def test_when_to_ask_again_is_read_in_utc(headers: dict[str, str], seconds: float | None) -> None:
    at = classify(429, b"", headers).retry_at
    assert at == (None if seconds is None else NOW + timedelta(seconds=seconds))
    assert at is None or at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (anthropic("overloaded_error"), Busy),
        (anthropic("invalid_request_error"), BadRequest),
        (anthropic("invalid_request_error", "prompt is too long"), TooLong),
        (anthropic("api_error"), Unreachable),
        (openai("server_error"), Unreachable),
        ({"error": {"code": 502, "message": "x", "metadata": {}}}, Unreachable),
        ({"error": {"code": 429, "message": "x"}}, Busy),
        ({"error": "words"}, Unreachable),
        ({"type": "error"}, Unreachable),
    ],
)
def test_an_error_inside_a_stream_is_classified_by_its_type(data: Any, kind: type[ProviderError]) -> None:
    error = classify_event(json.dumps(data), PLAIN)
    assert type(error) is kind
    assert error.status == 200


# What PROVIDERS.md documents of each built-in provider, row by row.

BUILTIN = load_profiles({}, "config.toml")
LIMITED = (Busy, LimitReached, Billing)
HTML = b"<html><head><title>Sorry</title></head>"


def bracketed(code: int, message: str = "words") -> dict[str, Any]:
    """Return an error as Z.AI's Anthropic-compatible endpoint sends it; its type is sometimes the code."""
    return anthropic("api_error", f"[{code}][{message}][2026-trace]")


def own(code: int, message: str = "words") -> dict[str, Any]:
    return {"error": {"code": str(code), "message": message}}


def google(code: int, status: str, message: str = "words", *details: dict[str, Any]) -> list[Any]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


def quota(*ids: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id} for id in ids]}


def upstream(code: int, raw: Any, **metadata: Any) -> dict[str, Any]:
    metadata = {"provider_name": "Acme", "raw": raw, **metadata}
    return {"error": {"code": code, "message": "Provider returned error", "metadata": metadata}}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
FLUSH = "Usage limit reached for 5 hour. Your limit will reset at 2026-11-23 21:00:00"
FLUSH_CN = "您的限额将在 2026-11-23 21:00:00 重置。"
PAST_WINDOW = "Resets at 2026-11-23 21:00:00"
PAST = 3600
CAP = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
KIMI = "You've reached your usage limit for this billing cycle. Your quota will be refreshed in the next cycle."
KIMI_WEEK = "You've reached your weekly (7-day) usage limit. Your quota will reset when the 7-day window ends."
KIMI_CLIENT = "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI"
TPM = "Rate limit reached for model `m` on tokens per minute (TPM): Limit 6000, Used 5900, Requested 900. Please try again in 20s."
TOO_LARGE = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7500, please reduce your message size and try again."
TPD = "Rate limit reached for model `m` on tokens per day (TPD): Limit 100000. Please try again in 7m12s."
Row = tuple[str, int, Any, type[ProviderError], str, float | None]

ROWS: list[Row] = [
    # 1.9
    ("anthropic", 400, anthropic("invalid_request_error"), BadRequest, "", None),
    ("anthropic", 400, anthropic("invalid_request_error", code="organization_on_hold"), Unauthorized, "", None),
    ("anthropic", 400, anthropic("x", code="enforced_spend_limit_reached"), Billing, "spend", None),
    (
        "anthropic",
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
        Billing,
        "balance",
        None,
    ),
    ("anthropic", 400, anthropic("invalid_request_error", CAP), Billing, "spend", 7.5 * 86_400),
    ("anthropic", 429, anthropic("rate_limit_error", CAP), Billing, "spend", 7.5 * 86_400),
    ("anthropic", 400, anthropic("invalid_request_error", "prompt is too long: 9 > 8"), TooLong, "", None),
    ("anthropic", 400, anthropic("invalid_request_error", "max_tokens: 9 > 8"), BadRequest, "", None),
    ("anthropic", 401, anthropic("authentication_error"), Unauthorized, "", None),
    ("anthropic", 402, anthropic("billing_error"), Billing, "", None),
    ("anthropic", 402, anthropic("x", code="linked_organization_spend_limit_reached"), Billing, "spend", None),
    ("anthropic", 403, anthropic("permission_error"), Unauthorized, "", None),
    ("anthropic", 403, anthropic("permission_error", code="verification_required"), Unauthorized, "", None),
    ("anthropic", 403, HTML, Unauthorized, "", None),
    ("anthropic", 404, anthropic("not_found_error"), NoSuchModel, "", None),
    ("anthropic", 409, anthropic("conflict_error"), Unreachable, "", None),
    ("anthropic", 413, anthropic("request_too_large"), TooLong, "", None),
    ("anthropic", 413, HTML, TooLong, "", None),
    ("anthropic", 429, anthropic("rate_limit_error"), Busy, "", None),
    ("anthropic", 429, anthropic("x", code="enforced_spend_limit_reached"), Billing, "spend", None),
    ("anthropic", 429, anthropic("x", code="contract_spend_limit_reached"), Billing, "spend", None),
    ("anthropic", 429, anthropic("x", code="ramp_limit_exceeded"), Busy, "", None),
    ("anthropic", 429, anthropic("usage_limit_reached"), LimitReached, "", None),
    *(("anthropic", status, anthropic("timeout_error"), Unreachable, "", None) for status in (408, 499, 504)),
    ("anthropic", 500, anthropic("api_error"), Unreachable, "", None),
    ("anthropic", 503, anthropic("overloaded_error"), Busy, "overload", None),
    ("anthropic", 529, anthropic("overloaded_error"), Busy, "overload", None),
    ("anthropic", 529, b"", Busy, "overload", None),
    ("anthropic", 200, anthropic("overloaded_error"), Busy, "overload", None),
    # 2.2
    ("openai", 401, openai("invalid_request_error", "invalid_api_key"), Unauthorized, "", None),
    ("openai", 403, openai("x", "unsupported_country_region_territory"), Unauthorized, "", None),
    ("openai", 404, openai("x", "model_not_found"), NoSuchModel, "", None),
    ("openai", 400, openai("x", "context_length_exceeded"), TooLong, "", None),
    ("openai", 400, openai("x", None, "This exceeds the context window of the model"), TooLong, "", None),
    ("openai", 400, openai("invalid_request_error", "unsupported_parameter"), BadRequest, "", None),
    ("openai", 429, openai("requests", "rate_limit_exceeded"), Busy, "requests", None),
    ("openai", 429, openai("tokens", "rate_limit_exceeded", "try again in 20s"), Busy, "tokens", 20),
    ("openai", 429, openai("tokens", "rate_limit_exceeded", TOO_LARGE), TooLong, "", None),
    ("openai", 200, openai("tokens", "rate_limit_exceeded", TOO_LARGE), TooLong, "", None),
    ("openai", 429, openai("requests", "rate_limit_exceeded", "requests per day (RPD)"), Busy, "day", None),
    ("openai", 429, openai("x", "slow_down"), Busy, "requests", None),
    ("openai", 429, openai("insufficient_quota", "credit_balance_exhausted"), Billing, "balance", None),
    ("openai", 429, openai("insufficient_quota", "organization_spend_limit_exceeded"), Billing, "spend", None),
    ("openai", 429, openai("insufficient_quota", "project_spend_limit_exceeded"), Billing, "spend", None),
    ("openai", 429, openai("insufficient_quota", "organization_usage_limit_exceeded"), Billing, "spend", None),
    ("openai", 429, openai("insufficient_quota", "insufficient_quota"), Billing, "balance", None),
    ("openai", 429, openai("insufficient_quota", "billing_hard_limit_reached"), Billing, "spend", None),
    ("openai", 500, openai("server_error"), Unreachable, "", None),
    ("openai", 503, openai("x", "server_is_overloaded"), Busy, "overload", None),
    # 3
    ("openrouter", 402, upstream(402, None, limit_source="openrouter_credits"), Billing, "balance", None),
    ("openrouter", 402, upstream(402, None, limit_source="openrouter_key_limit"), Billing, "spend", None),
    ("openrouter", 402, upstream(402, None, limit_source="in_flight_budget_exhausted"), Busy, "concurrency", None),
    ("openrouter", 429, upstream(429, None, limit_source="openrouter_free_tier_daily"), LimitReached, "day", None),
    (
        "openrouter",
        429,
        {
            "error": {
                "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 requests per day",
                "code": 429,
                "metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795435200000"}},
            }
        },
        LimitReached,
        "day",
        0,
    ),
    ("openrouter", 429, upstream(429, '{"error": {"message": "try again in 20s"}}'), Busy, "", 20),
    ("openrouter", 400, upstream(400, '{"error": {"code": "context_length_exceeded"}}'), TooLong, "", None),
    ("openrouter", 403, openai(None, 403, "m requires moderation; your input was flagged"), BadRequest, "", None),
    ("openrouter", 200, upstream(502, "bad gateway"), Unreachable, "", None),
    ("openrouter", 401, openai(None, 401), Unauthorized, "", None),
    ("openrouter", 502, openai(None, 502), Unreachable, "", None),
    ("deepseek", 400, openai("invalid_request_error"), BadRequest, "", None),
    ("deepseek", 401, openai("authentication_error"), Unauthorized, "", None),
    (
        "deepseek",
        402,
        openai("unknown_error", "invalid_request_error", "Insufficient Balance"),
        Billing,
        "balance",
        None,
    ),
    ("deepseek", 422, openai("invalid_request_error"), BadRequest, "", None),
    ("deepseek", 429, openai("rate_limit"), Busy, "", None),
    ("deepseek", 500, b"", Unreachable, "", None),
    ("deepseek", 503, b"", Busy, "overload", None),
    ("moonshot", 429, openai("exceeded_current_quota_error"), Billing, "balance", None),
    ("moonshot", 429, openai("rate_limit_reached_error"), Busy, "", None),
    ("moonshot", 429, openai("engine_overloaded_error"), Busy, "overload", None),
    ("moonshot", 400, openai("content_filter"), BadRequest, "", None),
    ("kimi-code", 403, openai("access_terminated_error", None, KIMI_CLIENT), Unauthorized, "", None),
    ("kimi-code", 402, openai("x", None, "Your membership has ended"), Billing, "plan", None),
    ("kimi-code", 403, openai("access_terminated_error", None, KIMI), LimitReached, "month", None),
    ("kimi-code", 403, anthropic("permission_error", KIMI), LimitReached, "month", None),
    ("kimi-code", 429, anthropic("rate_limit_error", KIMI_WEEK), LimitReached, "week", None),
    ("kimi-code", 429, openai("x", None, "You've reached your usage limit for this period."), LimitReached, "", None),
    ("kimi-code", 429, openai("x", None, "The engine is currently overloaded"), Busy, "overload", None),
    *(
        ("minimax", status, body(code), kind, limit, None)
        for code, kind, limit in (
            (1000, Unreachable, ""),
            (1001, Unreachable, ""),
            (1002, Busy, "requests"),
            (1004, Unauthorized, ""),
            (1008, Billing, "balance"),
            (1013, Unreachable, ""),
            (1024, Unreachable, ""),
            (1026, BadRequest, ""),
            (1027, BadRequest, ""),
            (1033, Unreachable, ""),
            (1039, Busy, "tokens"),
            (2013, BadRequest, ""),
            (2049, Unauthorized, ""),
            (2056, LimitReached, "plan"),
        )
        for status, body in (
            (200, lambda code: {"base_resp": {"status_code": code, "status_msg": "words"}}),
            (500, lambda code: anthropic("api_error", f"words ({code})")),
        )
    ),
    ("kimi-code", 429, openai("engine_overloaded_error"), Busy, "overload", None),
    ("minimax", 400, anthropic("x", "invalid params, context window exceeds limit (2013)"), TooLong, "", None),
    ("qwen", 429, openai("x", "Throttling.RateQuota"), Busy, "requests", None),
    ("qwen", 429, openai("x", "Throttling.AllocationQuota"), Busy, "tokens", None),
    ("qwen", 429, openai("insufficient_quota", "insufficient_quota"), Busy, "tokens", None),
    ("qwen", 429, openai("x", "Throttling"), Busy, "", None),
    ("qwen", 429, openai("x", "Throttling.BurstRate"), Busy, "requests", None),
    ("qwen", 400, openai("x", "Arrearage"), Billing, "balance", None),
    ("qwen", 403, openai("x", "AllocationQuota.FreeTierOnly"), Billing, "balance", None),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "words", RETRY_INFO), Busy, "", 34),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "Please retry in 12.5s."), Busy, "", 12.5),
    (
        "google",
        429,
        google(429, "RESOURCE_EXHAUSTED", "words", quota("GenerateRequestsPerMinutePerProject"), RETRY_INFO),
        Busy,
        "requests",
        34,
    ),
    (
        "google",
        429,
        google(429, "RESOURCE_EXHAUSTED", "words", quota("GenerateContentInputTokensPerModelPerMinute")),
        Busy,
        "tokens",
        None,
    ),
    (
        "google",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "Please retry in 34s.",
            quota("GenerateRequestsPerMinutePerProject", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            RETRY_INFO,
        ),
        LimitReached,
        "day",
        None,
    ),
    ("google", 402, google(402, "RESOURCE_EXHAUSTED"), Billing, "", None),
    ("google", 402, openai("x", "payment_required"), Billing, "balance", None),
    ("google", 400, google(400, "INVALID_ARGUMENT", "words", {"reason": "API_KEY_INVALID"}), Unauthorized, "", None),
    ("google", 400, google(400, "INVALID_ARGUMENT", "API key not valid. Pass a valid one."), Unauthorized, "", None),
    ("google", 400, google(400, "INVALID_ARGUMENT", "missing a thought_signature"), BadRequest, "", None),
    (
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided"},
        Unauthorized,
        "",
        None,
    ),
    ("mistral", 402, b"", Billing, "", None),
    ("mistral", 422, {"detail": [{"msg": "extra fields"}]}, BadRequest, "", None),
    (
        "mistral",
        429,
        {"object": "error", "message": "Service tier capacity exceeded for this model.", "code": "3505"},
        Busy,
        "overload",
        None,
    ),
    ("mistral", 400, b"", TooLong, "", None),
    ("groq", 400, openai("invalid_request_error", "tool_use_failed"), BadReply, "", None),
    ("groq", 413, openai("tokens", "rate_limit_exceeded", TOO_LARGE), TooLong, "", None),
    ("groq", 413, openai("tokens", "rate_limit_exceeded", TPM), Busy, "tokens", 20),
    ("groq", 429, openai("tokens", "rate_limit_exceeded", TPM), Busy, "tokens", 20),
    ("groq", 429, openai("tokens", "rate_limit_exceeded", TPD), Busy, "day", 432),
    ("cerebras", 400, b"", TooLong, "", None),
    ("cerebras", 413, b"", TooLong, "", None),
    ("cerebras", 400, openai("invalid_request_error"), BadRequest, "", None),
    ("cerebras", 429, openai("x", "token_quota_exceeded", "Tokens per minute limit exceeded"), Busy, "tokens", None),
    ("together", 403, openai("x", None, "input and max_tokens exceed the window"), TooLong, "", None),
    ("together", 403, HTML, Unauthorized, "", None),
    ("together", 402, openai("x", None, "maximum allowed monthly spending limit"), Billing, "spend", None),
    ("together", 503, openai("x"), Busy, "overload", None),
    ("ollama", 404, {"error": "model 'x' not found, try pulling it first"}, NoSuchModel, "", None),
    ("ollama-cloud", 401, {"error": "unauthorized"}, Unauthorized, "", None),
    ("ollama-cloud", 429, {"error": "you have reached your weekly usage limit"}, LimitReached, "week", None),
    ("llamacpp", 503, openai("unavailable_error", 503, "Loading model"), Busy, "overload", None),
    ("llamacpp", 400, openai("x", 400, "the request exceeds the available context size"), TooLong, "", None),
    (
        "vllm",
        400,
        openai("BadRequestError", 400, "This model's maximum context length is 8 tokens."),
        TooLong,
        "",
        None,
    ),
    ("litellm", 400, openai("budget_exceeded", "400", "Budget has been exceeded!"), Billing, "spend", None),
    ("litellm", 429, openai("budget_exceeded", "429"), Billing, "spend", None),
    ("github-models", 413, openai("x", "tokens_limit_reached"), TooLong, "", None),
    (
        "github-models",
        429,
        openai(
            "x", "RateLimitReached", "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 60 seconds"
        ),
        Busy,
        "day",
        60,
    ),
    ("bedrock", 400, openai("ThrottlingException"), Busy, "", None),
    ("bedrock", 400, openai("ServiceQuotaExceededException"), LimitReached, "", None),
    ("bedrock", 400, openai("validationException", None, "Input is too long for requested model."), TooLong, "", None),
    ("bedrock", 200, openai("throttlingException"), Busy, "", None),
    ("bedrock", 200, openai("serviceUnavailableException"), Busy, "", None),
    ("vertex", 429, google(429, "RESOURCE_EXHAUSTED"), Busy, "", None),
    ("foundry", 401, openai("x", "401"), Unauthorized, "", None),
    # 4.2, on each endpoint and in each form
    *(
        (name, status, body(code, message), kind, limit, seconds)
        for name in ("zai", "zai-cn", "zai-coding-plan")
        for body in (own, bracketed, lambda code, message: anthropic(str(code), message))
        for code, status, message, kind, limit, seconds in (
            *((code, 401, "words", Unauthorized, "", None) for code in (1000, 1001, 1002, 1003, 1004, 1005)),
            *((code, 500, "words", Unreachable, "", None) for code in (1100, 1120, 1200, 1230, 1234)),
            *((code, 429, "words", Unauthorized, "", None) for code in (1110, 1111, 1112, 1121, 1313, 1315)),
            *((code, 400, "words", BadRequest, "", None) for code in (1210, 1212, 1213, 1214, 1215, 1221, 1222, 1231)),
            (1113, 429, "Insufficient balance or no resource package. Please recharge.", Billing, "balance", None),
            (1211, 400, "Unknown model", NoSuchModel, "", None),
            (1220, 403, "words", Unauthorized, "", None),
            (1261, 400, "Prompt too long", TooLong, "", None),
            (1300, 400, "policy", BadRequest, "", None),
            (1301, 400, "sensitive", BadRequest, "", None),
            (1302, 429, "High concurrency usage of this API", Busy, "concurrency", None),
            (1303, 429, "words", Busy, "concurrency", None),
            (1304, 429, "daily call limit", LimitReached, "day", None),
            (1305, 429, "The service may be temporarily overloaded", Busy, "overload", None),
            (1308, 429, FLUSH, LimitReached, "five_hour", PAST),
            (1308, 429, FLUSH_CN, LimitReached, "five_hour", PAST),
            (1309, 429, "Your GLM Coding Plan package has expired", Billing, "plan", None),
            (1310, 429, f"Weekly/Monthly Limit Exhausted. {PAST_WINDOW}", LimitReached, "week", PAST),
            (1311, 429, "words", NoSuchModel, "", None),
            (1312, 429, "words", Busy, "overload", None),
            (1314, 429, "words", Billing, "plan", None),
            *((code, 429, PAST_WINDOW, LimitReached, "five_hour", PAST) for code in (1316, 1318, 1320)),
            *((code, 429, PAST_WINDOW, LimitReached, "week", PAST) for code in (1317, 1319, 1321)),
        )
    ),
    # What responds instead of the API: login pages, region blocks, proxies.
    *(
        (name, status, HTML, kind, limit, None)
        for name in BUILTIN
        for status, kind, limit in (
            (401, Unauthorized, ""),
            (403, Unauthorized, ""),
            (429, Busy, ""),
            (502, Unreachable, ""),
            (503, Busy, "overload"),
            (504, Unreachable, ""),
        )
    ),
]


@pytest.mark.parametrize(("provider", "status", "body", "kind", "limit", "seconds"), ROWS)
def test_documented_errors_of_providers_are_classified(
    provider: str, status: int, body: Any, kind: type[ProviderError], limit: str, seconds: float | None
) -> None:
    error = classify(status, body, profile=BUILTIN[provider])
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert (type(error), error.limit, error.retry_at) == (kind, limit, expected)
    if status == 200:
        error = classify_event(json.dumps(body), BUILTIN[provider], NOW)
        assert (type(error), error.limit, error.retry_at) == (kind, limit, expected)


def test_every_provider_is_in_the_table() -> None:
    assert {row[0] for row in ROWS if row[2] is not HTML} >= set(BUILTIN) - {
        "anthropic-profile",  # as anthropic
        "claude",  # its program reads the answers
        "fireworks",  # nothing of its own is known
        "lmstudio",
    }


def test_every_code_of_a_builtin_is_in_the_table() -> None:
    for name, builtin in BUILTIN.items():
        rows = [row for row in ROWS if row[0] == name]
        codes = {*builtin.errors, *builtin.limits}
        assert {code for code in codes if not any(names(row, code) for row in rows)} == set(), name


def names(row: Row, code: str) -> bool:
    """Return whether a row of the table is about a key of its provider."""
    text = row[2].decode() if isinstance(row[2], bytes) else json.dumps(row[2])
    return code in text or code in (str(row[1]), f"{row[1]} (no body)")


@pytest.mark.parametrize("name", BUILTIN)
def test_a_code_that_means_a_limit_has_a_class_of_limits(name: str) -> None:
    for code in BUILTIN[name].limits:
        error = classify(429, openai("x", code), profile=BUILTIN[name])
        assert type(error) in LIMITED
        assert error.limit == BUILTIN[name].limits[code]
    for code, limit in LIMIT_BY_CODE.items():
        assert CLASS_BY_CODE[code] in LIMITED or limit == ""


def test_related_providers_share_codes_limits_and_zone() -> None:
    for name in ("zai-coding-plan", "zai-cn"):
        assert BUILTIN[name].limits == BUILTIN["zai"].limits
        assert BUILTIN[name].utc_offset == BUILTIN["zai"].utc_offset == 8


# Headers: which limit it was, and until when.

UNIFIED = "anthropic-ratelimit-unified"


@pytest.mark.parametrize(
    ("headers", "kind", "limit", "seconds"),
    [
        (
            {"status": "rejected", "representative-claim": "five_hour", "reset": "1795438800"},
            LimitReached,
            "five_hour",
            3600,
        ),
        ({"representative-claim": "seven_day", "7d-reset": "1795438800"}, LimitReached, "week", 3600),
        ({"representative-claim": "seven_day_opus", "reset": "1795438800"}, LimitReached, "week", 3600),
        ({"representative-claim": "overage", "overage-reset": "1795438800"}, LimitReached, "spend", 3600),
        ({"overage-status": "rejected"}, LimitReached, "spend", None),
        ({"status": "allowed"}, Busy, "", None),
        ({}, Busy, "", None),
    ],
)
def test_a_limit_of_the_plan_is_distinguished_from_one_of_the_server(
    headers: Any, kind: Any, limit: str, seconds: int | None
) -> None:
    named = {f"{UNIFIED}-{name}": value for name, value in headers.items()}
    error = classify(429, anthropic("rate_limit_error"), named)
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert (type(error), error.limit, error.retry_at) == (kind, limit, expected)
    assert type(classify(500, anthropic("api_error"), named)) is Unreachable
    assert type(classify(429, anthropic("x", code="enforced_spend_limit_reached"), named)) is Billing


@pytest.mark.parametrize(
    ("headers", "limit", "seconds"),
    [
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-23T12:01:00Z",
            },
            "requests",
            60,
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:01:00Z",
            },
            "tokens",
            60,
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0", "retry-after": "7"}, "tokens", 7),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, "requests", 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, "tokens", 0.12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795435260000"}, "requests", 60),
        # A reset that is hours away makes no other class of a burst limit.
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20h"}, "requests", 72_000),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, "", None),
    ],
)
def test_the_limit_is_read_from_the_headers(headers: dict[str, str], limit: str, seconds: float | None) -> None:
    error = classify(429, b"", headers)
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert (type(error), error.limit, error.retry_at) == (Busy, limit, expected)


def test_a_spent_balance_does_not_come_back_with_the_minute() -> None:
    headers = {"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "6m0s"}
    error = classify(429, openai("insufficient_quota", "insufficient_quota"), headers)
    assert (error.limit, error.retry_at) == ("balance", None)


# Words of errors.


@pytest.mark.parametrize(
    "words",
    [
        "prompt is too long: 9 tokens",
        "Input is too long for requested model.",
        "Your input exceeds the context window of this model",
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens",
        "Please reduce the length of the messages or completion",
        "This endpoint's maximum context length is 8 tokens",
        "prompt token count of 9 exceeds the limit of 8",
        "the request exceeds the available context size",
        "tokens to keep from the initial prompt is greater than the context length",
        "invalid params, context window exceeds limit",
        "Your request exceeded model token limit: 8",
        "Prompt contains 9 tokens, too large for model with 8 maximum context length",
        "model_context_window_exceeded",
        "context length exceeded",
        "Request Entity Too Large",
        "The engine's context length is only 8 tokens",
        "The input length 9 exceeds the context length 8",
        "current length is 9 while limit is 8",
        "input length and `max_tokens` exceed context limit: 9 + 1 > 8",
    ],
)
def test_a_conversation_that_is_too_long_is_recognized_in_every_servers_wording(words: str) -> None:
    for status in (400, 413, 422, 500):
        for body in (openai(None, None, words), anthropic("invalid_request_error", words), {"error": words}, words):
            assert type(classify(status, body)) is TooLong
    assert type(classify_event(json.dumps(openai("server_error", None, words)), PLAIN)) is TooLong
    assert type(classify(429, openai(None, None, words))) is Busy
    assert type(classify(401, openai(None, None, words))) is Unauthorized


@pytest.mark.parametrize("words", ["130 exceeds the limit of 128", "max_tokens: 9000 exceeds the limit of 8192"])
def test_other_limits_are_not_taken_for_the_context_window(words: str) -> None:
    assert type(classify(400, openai("invalid_request_error", None, words))) is BadRequest


@pytest.mark.parametrize("words", ["credit balance is too low", "Insufficient balance", "Incorrect API key", CAP])
def test_a_400_with_a_specific_code_may_quote_the_wording_of_another_error(words: str) -> None:
    for body in (openai("invalid_request_error", "invalid_value", words), anthropic("x", words, "invalid_value")):
        error = classify(400, body)
        assert (type(error), error.limit, error.retry_at) == (BadRequest, "", None)
    error = classify_event(json.dumps(openai("invalid_request_error", "invalid_value", words)), PLAIN, NOW)
    assert (type(error), error.limit, error.retry_at) == (BadRequest, "", None)


@pytest.mark.parametrize(
    "body",
    [
        openai(None, 400, "credit balance is too low"),
        openai("BadRequestError", 400, "credit balance is too low"),
        openai("None", "400", "credit balance is too low"),
        upstream(400, json.dumps(anthropic("invalid_request_error", "credit balance is too low"))),
        "credit balance is too low",
    ],
)
def test_a_400_without_a_specific_code_is_classified_by_its_wording(body: Any) -> None:
    error = classify(400, body)
    assert (type(error), error.limit) == (Billing, "balance")


def test_a_rejected_request_may_quote_the_wording_of_a_reset() -> None:
    error = classify(400, openai("x", None, "Invalid message: 'it resets in 3 days, usage limit reached'"))
    assert (type(error), error.limit, error.retry_at) == (BadRequest, "", None)


def test_the_error_of_the_provider_behind_a_gateway_is_passed_on() -> None:
    for raw in (
        '{"error": {"message": "Out of GPUs", "code": "x9"}}',
        {"error": {"message": "Out of GPUs"}},
        "Out of GPUs",
    ):
        error = classify(502, upstream(502, raw))
        assert error.message == "Provider returned error: Acme: Out of GPUs"
        assert error.code == "502"
    assert classify(502, upstream(502, None)).message == "Provider returned error"


@pytest.mark.parametrize(
    ("status", "words"), [(401, "login page"), (403, "region block"), (404, "check base_url"), (502, "")]
)
def test_an_html_page_gets_a_hint_about_what_responded(status: int, words: str) -> None:
    error = classify(status, HTML)
    assert error.message == "the server responded with an HTML page: Sorry"
    assert words in error.hint
    assert bool(error.hint) == bool(words)


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("<html><title lang=en>So\nrry</title>", ": So rry"),
        ("<html><title>Sorry", ": Sorry"),
        ("<html><title>Sorry<title>Sorry", ": Sorry"),
        ("<html><title " + "x" * 201 + ">Sorry</title>", ""),
        ("<html>" + "x" * 16_000 + "<title>Sorry</title>", ""),
    ],
)
def test_the_title_of_a_page_is_read_in_bounded_time(page: str, name: str) -> None:
    assert classify(502, page.encode()).message == f"the server responded with an HTML page{name}"


@pytest.mark.parametrize(
    "part",
    [
        "<title>",
        "<title",
        "<title ",
        "<title></",
        "< ",
        "[123][",
        "(1234) ",
        "request too large for ",
        "input token count ",
        "token ",
        "reached your ",
        "resets in 1 ",
        "wait 1m1m",
        "\x00 ",
    ],
)
def test_a_repetitive_body_is_read_in_bounded_time(part: str) -> None:
    long = part * (65_536 // len(part))
    for body in (long.encode(), b"<" + long.encode(), json.dumps(openai(None, None, long)).encode()):
        for status in (400, 413, 429):
            assert isinstance(classify(status, body), ProviderError)


def test_an_error_in_a_stream_has_its_limit_and_reset() -> None:
    data = json.dumps(bracketed(1308, FLUSH))
    error = classify_event(data, BUILTIN["zai"], NOW)
    assert (type(error), error.limit, error.retry_at) == (LimitReached, "five_hour", NOW + timedelta(seconds=PAST))


@pytest.mark.parametrize(
    ("data", "failed"),
    [
        ({"error": {"message": "x"}}, True),
        ({"base_resp": {"status_code": 1008}}, True),
        ({"base_resp": {"status_code": 0, "status_msg": ""}}, False),
        ({"error": None, "choices": []}, False),
    ],
)
def test_events_that_report_an_error_are_recognized(data: dict[str, Any], failed: bool) -> None:
    assert is_error_event(data) is failed


KEYS = [
    "error",
    "code",
    "type",
    "message",
    "details",
    "metadata",
    "raw",
    "base_resp",
    "status_code",
    "violations",
    "headers",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(200, 600), json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
def test_any_body_is_classified(status: int, body: bytes) -> None:
    for error in (classify(status, body), classify_event(body.decode(errors="replace"), PLAIN, NOW)):
        assert isinstance(error, ProviderError)
        assert isinstance(error, LIMITED) or error.limit == ""
        annotate_error(error, PLAIN, Route(provider="p", model="m", requested="m"), None)
        assert len(error.message) <= 600

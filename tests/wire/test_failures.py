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
from autoroute.wire.failures import CODES, STATUSES, check_error_table, failure, stream_failure
from tests.wire.speakers import profile

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PLAIN = profile("anthropic-messages")
TABLED = profile(
    "anthropic-messages", errors={"1308": "LimitReached", "1211": "NoSuchModel", "overloaded_error": "Busy"}
)


def classify(status: int, body: Any, headers: dict[str, str] | None = None, profile: Any = PLAIN) -> ProviderError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure(status, headers or {}, content, profile, NOW)


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
    ],
)
def test_an_answer_ends_in_one_class(status: int, body: Any, kind: type[ProviderError], code: str | None) -> None:
    error = classify(status, body)
    assert type(error) is kind
    assert error.status == status
    assert code is None or error.code == code


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_read_from_either_familys_place(code: str) -> None:
    bodies = [anthropic(code), anthropic("x", code=code), openai(code), openai("x", code)]
    assert {type(classify(418, body)) for body in bodies} == {CODES[code]}
    assert type(stream_failure(json.dumps(openai("x", code)), PLAIN)) is CODES[code]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_stands_for_a_class_without_a_body(status: int) -> None:
    error = classify(status, b"")
    assert type(error) is STATUSES[status]
    assert error.message.startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", range(400, 600))
def test_no_status_is_without_a_class(status: int) -> None:
    assert type(classify(status, b"{}")) is not BadReply


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "1308", "message": "Usage limit reached"}},
        {"error": {"code": 1308, "message": "Usage limit reached"}},
        anthropic("rate_limit_error", "[1308][Usage limit reached][2026-trace]"),
    ],
)
def test_the_profiles_own_table_comes_first(body: Any) -> None:
    error = classify(429, body, profile=TABLED)
    assert type(error) is LimitReached
    assert (error.code, error.message) == ("1308", "Usage limit reached")
    assert type(classify(429, body)) is Busy


def test_an_error_table_that_names_no_class_is_refused() -> None:
    check_error_table(TABLED)
    with pytest.raises(ConfigError, match="LimitReachd") as caught:
        check_error_table(profile("openai-chat", errors={"1308": "LimitReachd"}))
    assert "LimitReached" in caught.value.hint


def test_an_error_speaks_in_the_providers_words() -> None:
    error = classify(529, anthropic("overloaded_error", "Over\nloaded\x1b[31m  now"))
    assert error.message == "Over loaded [31m now"
    assert error.request_id == "req_1"
    assert "overloaded_error" in error.detail


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"<html><head><title>502 Bad\n Gateway &amp; so</title></head>",
            "answered with an HTML page: 502 Bad Gateway & so",
        ),
        (b"  <!doctype html><p>hm", "answered with an HTML page"),
        (b"upstream died", "upstream died"),
        (b'"a string"', "a string"),
        (b'{"error": "a string"}', "a string"),
        (b'{"detail": "fast"}', "fast"),
        (b'[{"error": {"message": "in a list"}}]', "in a list"),
        (b"[]", "HTTP 502 Bad Gateway"),
        (b"null", "HTTP 502 Bad Gateway"),
        (b"[" * 100_000, "["),
        (b"x" * 5000, "x"),
    ],
)
def test_a_body_of_any_form_is_read(body: bytes, message: str) -> None:
    error = classify(502, body)
    assert type(error) is Unreachable
    assert error.message.startswith(message)
    assert len(error.message) <= 600


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
    error = stream_failure(json.dumps(data), PLAIN)
    assert type(error) is kind
    assert error.status == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "type", "message", "details", "detail"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(200, 600), json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
def test_no_body_breaks_the_table(status: int, body: bytes) -> None:
    assert isinstance(classify(status, body), ProviderError)

"""Claude through the SDK's clients, against loopback servers that respond as each platform does."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from autoroute.errors import (
    AutorouteError,
    BadReply,
    BadRequest,
    Billing,
    Busy,
    ConfigError,
    LimitReached,
    NoSuchModel,
    ProviderError,
    Unauthorized,
    Unreachable,
)
from autoroute.messages import Delta, Message, Reply, Stop, Text, Thinking, ToolCall, ToolResult, ToolSpec, Usage
from autoroute.providers.builtin import load_profiles
from autoroute.redaction import Redactor
from autoroute.routing import Clocks, ProviderProfile, Route
from autoroute.wire import Model, connect
from autoroute.wire.anthropic_messages import MessagesCodec
from tests.wire.raw_server import (
    STREAM_HEAD,
    Answer,
    Flood,
    Interruption,
    chunk,
    cut,
    raw,
    respond,
    serve,
    stall,
    stream,
)
from tests.wire.speakers import MODEL, PATIENT, Anthropic, SpokenReply, request

KEY = "canary-1234567890"
ASKED = request(Message("user", (Text("hi"),)), tools=(ToolSpec("read", "Reads.", '{"type": "object"}'),))
HELLO = SpokenReply("Hello there")
READ = ToolCall("toolu_1", "read", '{"path": "a"}')
GREP = ToolCall("toolu_2", "grep", '{"pattern": "x"}')
SPEAKER = Anthropic()

BOTO = pytest.mark.skipif(find_spec("boto3") is None, reason="boto3 is not installed")
GOOGLE = pytest.mark.skipif(
    find_spec("google") is None or find_spec("google.auth") is None or find_spec("cryptography") is None,
    reason="google-auth is not installed",
)


# How each platform frames the events of a stream.


def sse(events: Iterable[bytes]) -> list[bytes]:
    return list(events)


def frame(payload: bytes, **headers: str) -> bytes:
    """Return an AWS event stream message: prelude, its CRC, headers, payload, CRC of all."""
    packed = b""
    for name, value in headers.items():
        key = b":" + name.replace("_", "-").encode()
        packed += struct.pack("!B", len(key)) + key + struct.pack("!BH", 7, len(value)) + value.encode()
    prelude = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack("!I", zlib.crc32(message))


def framed(events: Iterable[bytes]) -> list[bytes]:
    """Frame events as Bedrock does: the data of each in base64, with padding beside it."""
    out = []
    for event in events:
        data = event.partition(b"data: ")[2].strip()
        payload = json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abcd"}).encode()
        out.append(frame(payload, event_type="chunk", content_type="application/json", message_type="event"))
    return out


AWS_HEAD = STREAM_HEAD.replace(b"text/event-stream", b"application/vnd.amazon.eventstream")


@dataclass(frozen=True)
class Cloud:
    """A platform, as its server sees it."""

    provider: str
    path: str
    credentials: dict[str, str]
    lacks: str
    """Text of the hint without credentials."""
    auth: dict[str, str]
    """Headers that carry the key."""
    settings: dict[str, str] = field(default_factory=dict)
    frames: Callable[[Iterable[bytes]], list[bytes]] = sse
    head: bytes = STREAM_HEAD
    version: str = ""
    """``anthropic_version`` in the body."""

    def answer(self, events: Iterable[bytes], end: bytes = b"0\r\n\r\n") -> Answer:
        return raw(self.head + b"".join(chunk(piece) for piece in self.frames(events)) + end)

    def profile(self, url: str, **more: Any) -> ProviderProfile:
        table = {"base_url": url, **self.settings, **more}
        return load_profiles({self.provider: table}, "config.toml")[self.provider]

    def model(self, url: str, clocks: Clocks = PATIENT, redactor: Redactor | None = None, **more: Any) -> Model:
        route = Route(provider=self.provider, model=MODEL, requested=MODEL, account="work")
        return connect(self.profile(url, **more), route, None, clocks, redactor)


BEDROCK = Cloud(
    provider="bedrock",
    path=f"/model/{MODEL}/invoke-with-response-stream",
    credentials={"AWS_BEARER_TOKEN_BEDROCK": KEY},
    lacks="aws sso login",
    auth={"authorization": f"Bearer {KEY}"},
    settings={"region": "eu-central-1"},
    frames=framed,
    head=AWS_HEAD,
    version="2026-10-21",
)
VERTEX = Cloud(
    provider="vertex",
    path=f"/projects/proj/locations/us-east5/publishers/anthropic/models/{MODEL}:streamRawPredict",
    credentials={},
    lacks="gcloud auth application-default login",
    auth={"authorization": f"Bearer {KEY}"},
    settings={"region": "us-east5", "project": "proj"},
    version="2026-10-21",
)
FOUNDRY = Cloud(
    provider="foundry",
    path="/v1/messages",
    credentials={"ANTHROPIC_FOUNDRY_API_KEY": KEY},
    lacks="ANTHROPIC_FOUNDRY_API_KEY",
    auth={"x-api-key": KEY, "api-key": KEY},
)
CONSOLE = Cloud(
    provider="anthropic-profile",
    path="/v1/messages",
    credentials={"ANTHROPIC_PROFILE": "work"},
    lacks="ANTHROPIC_PROFILE",
    auth={"authorization": f"Bearer {KEY}"},
)
CLOUDS = [
    pytest.param(BEDROCK, id="bedrock", marks=BOTO),
    pytest.param(VERTEX, id="vertex", marks=GOOGLE),
    pytest.param(FOUNDRY, id="foundry"),
    pytest.param(CONSOLE, id="anthropic-profile"),
]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all credentials but those of a test, and every way to look for some beyond this machine."""
    for name in list(os.environ):
        if name.upper().startswith(("AWS_", "ANTHROPIC_", "GOOGLE_", "CLOUDSDK_", "CLOUD_ML_", "GCLOUD_", "GCE_")):
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path / "anthropic"))
    if find_spec("boto3"):
        # The SDK keeps AWS sessions, and with them credentials, for the whole process.
        from anthropic.lib.aws import _auth

        sessions: Any = _auth._get_session
        sessions.cache_clear()


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Cloud], None]:
    """Log in to a platform."""

    def log_in(cloud: Cloud) -> None:
        for name, value in cloud.credentials.items():
            monkeypatch.setenv(name, value)
        if cloud is CONSOLE:
            console_profile(tmp_path / "anthropic", "work", KEY)
        if cloud is VERTEX:
            import google.auth
            from google.oauth2.credentials import Credentials

            monkeypatch.setattr(google.auth, "default", lambda **_: (fresh(Credentials, KEY), None))

    return log_in


def fresh(kind: Any, token: str) -> Any:
    """Return Google credentials whose token needs no refresh."""
    credentials = kind(token)
    credentials.refresh = lambda _request: None
    return credentials


def console_profile(folder: Path, name: str, token: str) -> None:
    for part, data in (
        ("configs", {"version": "1.0", "authentication": {"type": "user_oauth"}}),
        ("credentials", {"version": "1.0", "type": "oauth_token", "access_token": token}),
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
        path = folder / part / f"{name}.json"
        path.write_text(json.dumps(data))
        path.chmod(0o600)


def ask(model: Model) -> Reply:
    with closing(model):
        *_, reply = model.ask(ASKED)
    assert isinstance(reply, Reply)
    return reply


def failing(cloud: Cloud, answer: Answer, kind: type[ProviderError], clocks: Clocks = PATIENT, **more: Any) -> Any:
    with serve(answer) as server, pytest.raises(AutorouteError) as caught:
        ask(cloud.model(server.url, clocks, **more))
    assert type(caught.value) is kind, repr(caught.value)
    assert len(server.received) == 1, "nothing is retried"
    return caught.value


# What goes out.


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_codecs_request_is_sent_to_the_platforms_address(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    with serve(cloud.answer(SPEAKER.events(HELLO))) as server:
        ask(cloud.model(f"{server.url}/base"))
    (received,) = server.received
    assert received.target == f"/base{cloud.path}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["user-agent"].startswith("autoroute/")
    assert {name: text for name, text in received.headers.items() if KEY in text} == cloud.auth
    expected = json.loads(MessagesCodec(cloud.profile("http://127.0.0.1:9")).encode(ASKED))
    if cloud.version:
        expected["anthropic_version"] = cloud.version
        del expected["model"]
        assert "anthropic-version" not in received.headers
    else:
        assert received.headers["anthropic-version"] == "2023-06-01"
    if cloud is BEDROCK:
        del expected["stream"]
    assert received.json == expected


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_profile_can_name_the_version(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    with serve(cloud.answer(SPEAKER.events(HELLO))) as server:
        ask(cloud.model(server.url, version="bedrock-2023-05-31"))
    (received,) = server.received
    place = received.json["anthropic_version"] if cloud.version else received.headers["anthropic-version"]
    assert place == "bedrock-2023-05-31"


@BOTO
def test_aws_keys_sign_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-canary-0123")
    with serve(BEDROCK.answer(SPEAKER.events(HELLO))) as server:
        ask(BEDROCK.model(server.url))
    (received,) = server.received
    auth = received.headers["authorization"]
    assert auth.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/bedrock/aws4_request" in auth
    assert received.headers["x-amz-security-token"] == "session-canary-0123"
    assert KEY not in str(received.headers)


@BOTO
def test_no_error_contains_what_signs_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-canary-0123")
    body = json.dumps({"message": "The canonical string should have been x-amz-security-token:session-canary-0123"})
    error = failing(BEDROCK, respond(body.encode(), "403 Forbidden"), Unauthorized)
    assert error.message == "The canonical string should have been x-amz-security-token:[redacted]"
    assert "session-canary-0123" not in "".join(traceback.format_exception(error)) + error.detail


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_key_found_by_the_sdk_is_redacted_from_its_first_use_on(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    redactor = Redactor()
    with serve(cloud.answer(SPEAKER.events(SpokenReply(f"You sent {KEY}")))) as server:
        reply = ask(cloud.model(server.url, redactor=redactor))
    assert redactor.redact(reply.message.text) == "You sent [redacted]"


def test_no_truncated_error_contains_part_of_a_key(enter: Callable[[Cloud], None]) -> None:
    enter(FOUNDRY)
    error = failing(FOUNDRY, respond(b"x" * 595 + KEY.encode(), "500 Oops"), Unreachable)
    assert error.message.endswith("x[red…")
    assert KEY[:5] not in error.message


@GOOGLE
def test_google_exchanges_a_service_account_for_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    token = json.dumps({"access_token": KEY, "expires_in": 3600, "token_type": "Bearer"}).encode()
    given = respond(token, content_type="application/json")
    with serve(given, VERTEX.answer(SPEAKER.events(HELLO))) as server:
        account = {
            "type": "service_account",
            "project_id": "proj",
            "client_email": "robot@proj.example",
            "private_key": pem.decode(),
            "token_uri": f"{server.url}/token",
        }
        path = tmp_path / "account.json"
        path.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        assert ask(VERTEX.model(server.url)).message.text == "Hello there"
    assert [received.target for received in server.received] == ["/token", VERTEX.path]
    assert server.received[1].headers["authorization"] == f"Bearer {KEY}"


def workload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_CONFIG_DIR")
    monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "rule")
    monkeypatch.setenv("ANTHROPIC_ORGANIZATION_ID", "organization")
    monkeypatch.setenv("ANTHROPIC_IDENTITY_TOKEN", "identity-canary")


def test_workload_identity_is_exchanged_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    workload(monkeypatch)
    token = json.dumps({"access_token": KEY, "expires_in": 3600, "token_type": "Bearer"}).encode()
    given = respond(token, content_type="application/json")
    with serve(given, CONSOLE.answer(SPEAKER.events(HELLO))) as server:
        assert ask(CONSOLE.model(server.url)).message.text == "Hello there"
    assert [received.target for received in server.received] == ["/v1/oauth/token", "/v1/messages"]
    assert server.received[0].json["assertion"] == "identity-canary"
    assert server.received[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", Unauthorized),
        ("401 Unauthorized", Unauthorized),
        ("429 Too Many", Busy),
        ("503 Unavailable", Busy),
        ("500 Oops", Unreachable),
    ],
)
def test_a_rejected_workload_identity_is_reported(
    monkeypatch: pytest.MonkeyPatch, status: str, kind: type[ProviderError]
) -> None:
    workload(monkeypatch)
    with (
        serve(respond(b'{"error":"invalid_grant"}', status)) as server,
        pytest.raises(kind, match="invalid_grant") as caught,
    ):
        ask(CONSOLE.model(server.url))
    assert {received.target for received in server.received} == {"/v1/oauth/token"}
    assert "identity-canary" not in "".join(traceback.format_exception(caught.value))


def test_an_unreachable_token_endpoint_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    workload(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable, match="could not connect"):
        ask(CONSOLE.model(url))


def test_resource_names_a_console_profile_and_precedes_any_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    console_profile(tmp_path / "anthropic", "other", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key of another account")
    with serve(CONSOLE.answer(SPEAKER.events(HELLO))) as server:
        ask(CONSOLE.model(server.url, resource="other"))
    assert server.received[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_a_key_that_would_precede_the_profile_is_rejected(
    monkeypatch: pytest.MonkeyPatch, enter: Callable[[Cloud], None], name: str
) -> None:
    enter(CONSOLE)
    monkeypatch.setenv(name, KEY)
    with pytest.raises(ConfigError, match=f"{name} is set") as caught:
        ask(CONSOLE.model("http://127.0.0.1:9"))
    assert name in caught.value.hint
    assert KEY not in "".join(traceback.format_exception(caught.value))


# What comes back.


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_whole_reply_is_decoded(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    spoken = SpokenReply("Both.", thinking="Hm, hm", calls=(READ, GREP), stop="tools")
    with (
        serve(cloud.answer(SPEAKER.events(spoken))) as server,
        closing(cloud.model(server.url)) as model,
    ):
        *deltas, reply = model.ask(ASKED)
    assert [delta.kind for delta in deltas if isinstance(delta, Delta)] == [
        *["thinking"] * 2,
        *["text"] * 2,
        *["tool"] * 6,
    ]
    assert isinstance(reply, Reply)
    thinking, text, *calls = reply.message.parts
    assert isinstance(thinking, Thinking)
    assert (thinking.text, thinking.provider, json.loads(thinking.opaque)["signature"]) == (
        "Hm, hm",
        cloud.provider,
        "sig==",
    )
    assert text == Text("Both.")
    assert tuple(calls) == (READ, GREP)
    assert (reply.stop, reply.served_model) == (Stop.TOOLS, MODEL)
    assert reply.usage == Usage(input=10, output=20, cache_read=5, cache_write=3)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_turns_share_a_client_and_its_connection(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)

    def answer(client: socket.socket) -> bool:
        cloud.answer(SPEAKER.events(HELLO))(client)
        return True

    with serve(answer) as server, closing(cloud.model(server.url)) as model:
        for _ in range(3):
            assert len(list(model.ask(ASKED))) == 3
    assert {received.connection for received in server.received} == {1}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_closing_a_turn_ends_its_request(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    left = threading.Event()
    begun = stall(cloud.head + b"".join(map(chunk, cloud.frames(SPEAKER.events(HELLO)[:4]))))

    def answer(client: socket.socket) -> bool:
        begun(client)
        left.set()
        return False

    with serve(answer) as server, closing(cloud.model(server.url)) as model:
        turn = model.ask(ASKED)
        assert next(turn) == Delta("text", "Hello")
        del turn
        assert left.wait(10)


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(
    ("status", "type", "kind"),
    [
        ("429 Too Many Requests", "rate_limit_error", Busy),
        ("401 Unauthorized", "authentication_error", Unauthorized),
        ("402 Payment Required", "billing_error", Billing),
        ("404 Not Found", "not_found_error", NoSuchModel),
        ("400 Bad Request", "invalid_request_error", BadRequest),
        ("500 Internal Server Error", "api_error", Unreachable),
    ],
)
def test_an_error_names_provider_model_account_and_reason(
    cloud: Cloud, enter: Callable[[Cloud], None], status: str, type: str, kind: type[ProviderError]
) -> None:
    enter(cloud)
    answer = respond(SPEAKER.error_body(type, f"No, {KEY}"), status, retry_after="7")
    error = failing(cloud, answer, kind)
    assert (error.message, error.status, error.code) == ("No, [redacted]", int(status[:3]), type)
    assert (error.provider, error.model, error.account) == (cloud.provider, MODEL, "work")
    assert error.request_id == "req_b"
    assert error.retry_at is not None
    assert kind is not Unauthorized or cloud.lacks in error.hint
    assert KEY not in "".join([*traceback.format_exception(error), error.detail, error.hint])
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("header", ["request_id", "x_request_id", "x_amzn_requestid", "apim_request_id"])
def test_the_request_id_of_an_error_is_kept(enter: Callable[[Cloud], None], header: str) -> None:
    enter(FOUNDRY)
    error = failing(FOUNDRY, respond(b"", "500 Oops", **{header: "id-1"}), Unreachable)
    assert error.request_id == "id-1"


@BOTO
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("400 Bad Request", "ValidationException", BadRequest),
        ("400 Bad Request", "ServiceQuotaExceededException", LimitReached),
        ("403 Forbidden", "AccessDeniedException", Unauthorized),
        ("404 Not Found", "ResourceNotFoundException", NoSuchModel),
        ("429 Too Many", "ThrottlingException", Busy),
        ("503 Unavailable", "ServiceUnavailableException", Busy),
    ],
)
def test_the_code_is_read_from_the_header_of_aws(
    enter: Callable[[Cloud], None], status: str, code: str, kind: type[ProviderError]
) -> None:
    enter(BEDROCK)
    answer = respond(b'{"message":"No"}', status, x_amzn_errortype=f"{code}:http://internal.amazon.com/coral/")
    error = failing(BEDROCK, answer, kind)
    assert (error.message, error.code) == ("No", code)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_error_inside_a_stream_is_raised(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    events = [*SPEAKER.events(HELLO)[:4], SPEAKER.error("overloaded_error", f"Too much {KEY}")]
    error = failing(cloud, cloud.answer(events), Busy)
    assert (error.message, error.status, error.code) == ("Too much [redacted]", 200, "overloaded_error")


@BOTO
@pytest.mark.parametrize(
    ("headers", "payload", "kind"),
    [
        ({"message_type": "exception", "exception_type": "throttlingException"}, b'{"message":"slow"}', Busy),
        ({"message_type": "exception", "exception_type": "validationException"}, b'{"message":"slow"}', BadRequest),
        (
            {"message_type": "exception", "exception_type": "internalServerException"},
            b'{"message":"slow"}',
            Unreachable,
        ),
        ({"message_type": "error", "error_code": "InternalError", "error_message": "slow"}, b"", Unreachable),
    ],
)
def test_an_exception_of_aws_inside_a_stream_is_raised(
    enter: Callable[[Cloud], None], headers: dict[str, str], payload: bytes, kind: type[ProviderError]
) -> None:
    enter(BEDROCK)
    begun = b"".join(framed(SPEAKER.events(HELLO)[:4]))
    error = failing(BEDROCK, raw(AWS_HEAD + chunk(begun + frame(payload, **headers)) + b"0\r\n\r\n"), kind)
    assert error.message == "slow"


@BOTO
@pytest.mark.parametrize(
    "broken",
    [
        framed([b'data: {"type":"ping"}'])[0][:-1] + b"\0",
        b"\xff" * 64,
        frame(b"{", message_type="event"),
        frame(b'{"bytes":"x"}', message_type="event"),
        frame(json.dumps({"bytes": base64.b64encode(b"\xff").decode()}).encode(), message_type="event"),
        frame(json.dumps({"bytes": base64.b64encode(b"garbage").decode()}).encode(), message_type="event"),
    ],
)
def test_broken_frames_are_rejected(enter: Callable[[Cloud], None], broken: bytes) -> None:
    enter(BEDROCK)
    failing(BEDROCK, raw(AWS_HEAD + chunk(broken) + b"0\r\n\r\n"), BadReply)


@BOTO
def test_frames_may_be_split_anywhere_and_unknown_ones_are_ignored(enter: Callable[[Cloud], None]) -> None:
    enter(BEDROCK)
    whole = frame(b"{}", event_type="novelty", message_type="event") + b"".join(framed(SPEAKER.events(HELLO)))
    pieces = b"".join(chunk(whole[at : at + 7]) for at in range(0, len(whole), 7))
    with serve(raw(AWS_HEAD + pieces + b"0\r\n\r\n")) as server:
        assert ask(BEDROCK.model(server.url)).message.text == "Hello there"


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"])
def test_a_cut_stream_is_unreachable(cloud: Cloud, enter: Callable[[Cloud], None], end: bytes) -> None:
    enter(cloud)
    error = failing(cloud, cloud.answer(SPEAKER.events(HELLO)[:5], end), Unreachable)
    assert "cut off" in error.message
    assert error.hint


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_complete_reply_counts_although_the_stream_does_not_end(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    whole = cloud.head + b"".join(map(chunk, cloud.frames(SPEAKER.events(HELLO))))
    with serve(stall(whole)) as server:
        assert ask(cloud.model(server.url)).message.text == "Hello there"


QUICK = 0.2


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(
    ("clocks", "begun", "words"),
    [
        (Clocks(connect=10, first_byte=QUICK, idle=20, turn=30), False, "no response within 0.2 s"),
        (Clocks(connect=10, first_byte=20, idle=QUICK, turn=30), True, "no new content for 0.2 s"),
        (Clocks(connect=10, first_byte=20, idle=20, turn=QUICK), True, "the turn took longer than 0.2 s"),
    ],
)
def test_every_clock_ends_a_request(
    cloud: Cloud, enter: Callable[[Cloud], None], clocks: Clocks, begun: bool, words: str
) -> None:
    enter(cloud)
    start = cloud.head + b"".join(map(chunk, cloud.frames(SPEAKER.events(HELLO)[:4]))) if begun else b"HTTP/1.1 200"
    with serve(stall(start)) as server:
        model: Any = cloud.model(server.url, clocks)
        model._transport.open_client()  # takes its time
        with closing(model), pytest.raises(Unreachable) as caught:
            list(model.ask(ASKED))
    assert caught.value.message == words


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_digest_is_that_of_the_body_that_arrives(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    call = Message("assistant", (Text("Né 😀"), ToolCall("toolu_1", "read", '{"a": [1, 1.0, 1e30, "\\u00e9\\n/"]}')))
    longer = replace(ASKED, messages=(*ASKED.messages, call, Message("user", (ToolResult("toolu_1", "x"),))))
    digests = []
    with serve(cloud.answer(SPEAKER.events(HELLO))) as server:
        for one in (ASKED, longer):
            with closing(cloud.model(server.url)) as model:
                digests.append(model.digest(one))
                list(model.ask(one))
    assert digests == [hashlib.sha256(received.body).hexdigest() for received in server.received]


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("begun", [False, True])
def test_another_thread_interrupts_a_request_within_a_second(
    cloud: Cloud, enter: Callable[[Cloud], None], begun: bool
) -> None:
    enter(cloud)
    start = cloud.head + b"".join(map(chunk, cloud.frames(SPEAKER.events(HELLO)[:4])))
    asked: list[Model] = []
    with (
        Interruption(lambda: asked[0].interrupt(), stall(start if begun else b"HTTP/1.1 200")) as interruption,
        serve(interruption, cloud.answer(SPEAKER.events(HELLO))) as server,
        closing(cloud.model(server.url)) as model,
    ):
        asked.append(model)
        with pytest.raises(Unreachable, match="the request was interrupted"):
            list(model.ask(ASKED))
        assert interruption.seconds < 1
        assert isinstance(list(model.ask(ASKED))[-1], Reply)


OOPS = b"HTTP/1.1 503 Busy\r\ncontent-type: text/plain\r\n\r\n"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_only_the_beginning_of_an_endless_error_is_read(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    flood = Flood(OOPS)
    failing(cloud, flood, Busy)
    assert flood.taken < 32 * 1024 * 1024  # what the buffers of both sockets hold


def test_an_error_whose_body_stalls_is_still_read(enter: Callable[[Cloud], None]) -> None:
    enter(FOUNDRY)
    soon = Clocks(connect=10, first_byte=1, idle=20, turn=30)
    assert failing(FOUNDRY, stall(OOPS + b"slow down"), Busy, soon).message == "slow down"


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("media", ["text/event-stream", "application/json"])
@pytest.mark.parametrize(
    ("status", "kind"), [("200 OK", BadReply), ("503 Busy", Busy), ("401 Unauthorized", Unauthorized)]
)
def test_a_compressed_response_is_never_unpacked_and_its_header_is_named(
    cloud: Cloud, enter: Callable[[Cloud], None], media: str, status: str, kind: type[ProviderError]
) -> None:
    enter(cloud)
    bomb = gzip.compress(gzip.compress(bytes(16 * 1024 * 1024)))
    packed = respond(bomb, status, content_type=media, content_encoding="gzip, gzip")
    assert "(content-encoding: gzip, gzip)" in failing(cloud, packed, kind).message


def test_other_responses_are_classified(enter: Callable[[Cloud], None]) -> None:
    enter(FOUNDRY)
    for answer, kind, words in (
        (respond(b"<title>Log in</title>", content_type="text/html"), BadReply, "HTML page: Log in"),
        (respond(b'{"content":[]}', content_type="application/json"), BadReply, "not a stream"),
        (respond(b"x" * 1_000_000, "503 Busy"), Busy, "xxx"),
        (raw(b"garbage\r\n\r\n"), Unreachable, "not valid HTTP"),
        (stream(b"not gzip", content_encoding="gzip"), BadReply, "compression"),
        (stream(*[b"x" * 1_000_000] * 5), BadReply, "a line of more than"),
        (cut(), Unreachable, "cut off"),
    ):
        assert words in failing(FOUNDRY, answer, kind).message


@pytest.mark.parametrize("cloud", CLOUDS)
def test_redirects_are_errors_and_send_no_key(cloud: Cloud, enter: Callable[[Cloud], None]) -> None:
    enter(cloud)
    with serve(cloud.answer(SPEAKER.events(HELLO))) as other:
        error = failing(cloud, respond(b"", "307 Temporary", location=f"{other.url}/x"), BadRequest)
        assert f"redirects to {other.url.removeprefix('http://')};" in error.message
    assert other.received == []


def test_a_request_to_this_machine_uses_no_proxy(
    monkeypatch: pytest.MonkeyPatch, enter: Callable[[Cloud], None]
) -> None:
    enter(FOUNDRY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serve(FOUNDRY.answer(SPEAKER.events(HELLO))) as server:
        assert ask(FOUNDRY.model(server.url)).message.text == "Hello there"


def test_a_closed_port_is_unreachable(enter: Callable[[Cloud], None]) -> None:
    enter(FOUNDRY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable, match="could not connect: ") as caught:
        ask(FOUNDRY.model(url))
    assert "base_url in [providers.foundry]" in caught.value.hint


# What is missing.


@pytest.mark.parametrize("cloud", CLOUDS)
def test_without_credentials_nothing_is_sent(cloud: Cloud) -> None:
    with serve(respond()) as server, pytest.raises(Unauthorized) as caught:
        ask(cloud.model(server.url))
    assert server.received == []
    assert cloud.lacks in caught.value.hint
    assert caught.value.provider == cloud.provider
    assert "\n" not in caught.value.message


def test_an_invalid_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "two\nlines"
    monkeypatch.setenv("ANTHROPIC_FOUNDRY_API_KEY", value)
    with serve(respond()) as server, pytest.raises(Unauthorized, match="characters") as caught:
        ask(FOUNDRY.model(server.url))
    assert server.received == []
    assert value not in "".join(traceback.format_exception(caught.value))


def test_a_missing_console_profile_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_PROFILE", "absent")
    with pytest.raises(Unauthorized, match=r"absent\.json"):
        ask(CONSOLE.model("http://127.0.0.1:9"))


@BOTO
def test_a_missing_aws_profile_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(Unauthorized, match="absent") as caught:
        ask(BEDROCK.model("http://127.0.0.1:9"))
    assert "AWS_PROFILE" in caught.value.hint


@pytest.mark.parametrize(
    ("cloud", "settings", "names"),
    [
        pytest.param(BEDROCK, {"region": ""}, ("region", "AWS_REGION"), marks=BOTO),
        pytest.param(VERTEX, {"region": ""}, ("region", "CLOUD_ML_REGION"), marks=GOOGLE),
        pytest.param(VERTEX, {"project": ""}, ("project", "ANTHROPIC_VERTEX_PROJECT_ID"), marks=GOOGLE),
        pytest.param(FOUNDRY, {"url": ""}, ("resource", "ANTHROPIC_FOUNDRY_RESOURCE")),
    ],
)
def test_a_missing_setting_is_named(
    enter: Callable[[Cloud], None], cloud: Cloud, settings: dict[str, Any], names: tuple[str, ...]
) -> None:
    enter(cloud)
    with pytest.raises(ConfigError) as caught:
        ask(cloud.model(**{"url": "http://127.0.0.1:9", **settings}))
    assert all(name in caught.value.hint for name in (*names, f"[providers.{cloud.provider}]"))


@pytest.mark.parametrize(
    ("cloud", "package", "install"),
    [
        (BEDROCK, "boto3", "pip install 'autoroute[bedrock]'"),
        (BEDROCK, "anthropic", "pip install 'autoroute[bedrock]'"),
        (VERTEX, "google.auth", "pip install 'autoroute[vertex]'"),
        (FOUNDRY, "anthropic", "pip install 'anthropic>=2.12,<3'"),
        (CONSOLE, "anthropic", "pip install 'anthropic>=2.12,<3'"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, cloud: Cloud, package: str, install: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=package) as caught:
        cloud.model("http://127.0.0.1:9")
    assert caught.value.hint == install


# The profiles.


@pytest.mark.parametrize(
    ("provider", "settings", "host"),
    [
        ("bedrock", {}, "bedrock-runtime.{region}.amazonaws.com"),
        ("bedrock", {"region": "eu-central-1"}, "bedrock-runtime.eu-central-1.amazonaws.com"),
        ("vertex", {"region": "us-east5"}, "us-east5-aiplatform.googleapis.com"),
        ("vertex", {"region": "global"}, "{region}-aiplatform.googleapis.com"),
        ("foundry", {"resource": "ours"}, "ours.services.ai.azure.com"),
        ("anthropic-profile", {}, "api.anthropic.com"),
    ],
)
def test_the_host_is_shown_as_far_as_it_is_known(provider: str, settings: dict[str, str], host: str) -> None:
    assert load_profiles({provider: settings}, "config.toml")[provider].host == host


@pytest.mark.parametrize(
    ("cloud", "settings", "host"),
    [
        pytest.param(BEDROCK, {}, "bedrock-runtime.eu-central-1.amazonaws.com", marks=BOTO),
        pytest.param(VERTEX, {}, "us-east5-aiplatform.googleapis.com", marks=GOOGLE),
        pytest.param(VERTEX, {"region": "global"}, "aiplatform.googleapis.com", marks=GOOGLE),
        pytest.param(FOUNDRY, {"resource": "ours"}, "ours.services.ai.azure.com"),
        pytest.param(CONSOLE, {}, "api.anthropic.com"),
    ],
)
def test_the_sdk_completes_the_address_of_a_template(
    enter: Callable[[Cloud], None], cloud: Cloud, settings: dict[str, str], host: str
) -> None:
    enter(cloud)
    profile = load_profiles({cloud.provider: {**cloud.settings, **settings}}, "config.toml")[cloud.provider]
    model: Any = connect(profile, Route(provider=cloud.provider, model=MODEL, requested=MODEL), None, PATIENT)
    with closing(model):
        client = model._transport.open_client()
        assert client.base_url.host == host
        assert client.max_retries == 0
        assert not client.open_telemetry["traces"]["enabled"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"auth": "bearer"}, "finds its credentials with its own tools"),
        ({"wire": "openai-chat"}, 'requires wire = "anthropic-messages"'),
        ({"base_url": "http://gateway.example"}, "would be sent unencrypted"),
        ({"platform": "azure"}, "platform"),
    ],
)
def test_a_profile_that_a_platform_cannot_use_is_rejected(table: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_profiles({"bedrock": table}, "config.toml")


def test_a_second_provider_may_be_like_a_platform() -> None:
    table = {"like": "bedrock", "region": "us-west-2"}
    made = load_profiles({"bedrock-us": table}, "config.toml")["bedrock-us"]
    assert (made.platform, made.wire, made.auth, made.region) == ("bedrock", "anthropic-messages", "none", "us-west-2")

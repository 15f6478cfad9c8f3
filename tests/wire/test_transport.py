import gc
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    ConfigError,
    NoSuchModel,
    ProviderError,
    Unauthorized,
    Unreachable,
)
from autoroute.messages import Delta, Message, Reply, Request, Text
from autoroute.routing import Clocks, Route, Secret, origin
from autoroute.wire import Model, close_idle_connections, connect, fetch_json, http
from autoroute.wire.codec import Codec, Decoder
from autoroute.wire.http import translate
from autoroute.wire.watchdog import Connection, Watchdog
from tests.wire.raw_server import (
    STREAM_HEAD,
    Answer,
    Flood,
    Interruption,
    RawServer,
    chunk,
    cut,
    drip,
    raw,
    respond,
    serve,
    stall,
    stream,
)
from tests.wire.speakers import KEY, PATIENT, SPEAKERS, SpokenReply, model, profile, request

WIRES = list(SPEAKERS)
ASKED = request(Message("user", (Text("hi"),)))
HELLO = SpokenReply("Hello there")
ROUTE = Route(provider="acme", model="model-1", requested="acme/model-1")
HTML = {"content_type": "text/html"}


def ask(model: Model) -> Reply:
    with closing(model):
        *_, reply = model.ask(ASKED)
    assert isinstance(reply, Reply)
    return reply


@contextmanager
def failing(wire: str, *answers: Answer, kind: type[ProviderError], **more: Any) -> Iterator[tuple[Any, RawServer]]:
    with serve(*answers) as server:
        with pytest.raises(kind) as caught:
            ask(model(wire, server.url, **more))
        assert type(caught.value) is kind or kind is ProviderError
        yield caught.value, server


@pytest.mark.parametrize("wire", WIRES)
def test_the_request_is_one_post_to_the_wires_path(wire: str) -> None:
    with serve(stream(*SPEAKERS[wire].events(HELLO), request_id="req_9")) as server:
        reply = ask(model(wire, f"{server.url}/base/"))
    (received,) = server.received
    assert received.target == "/base" + SPEAKERS[wire].path
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept"] == "text/event-stream"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["user-agent"].startswith("autoroute/")
    assert reply.request_id == "req_9"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [("bearer", "authorization", f"Bearer {KEY}"), ("x-api-key", "x-api-key", KEY), ("none", "", "")],
)
def test_the_key_is_sent_in_the_header_that_the_profile_says(wire: str, auth: str, header: str, value: str) -> None:
    with serve(stream(*SPEAKERS[wire].events(HELLO))) as server:
        ask(model(wire, server.url, auth=auth))
    headers = server.received[0].headers
    assert {name: text for name, text in headers.items() if KEY in text} == ({header: value} if header else {})


@pytest.mark.parametrize(("version", "sent"), [("", "2023-06-01"), ("2026-10-21", "2026-10-21")])
def test_the_version_header_comes_from_the_profile(version: str, sent: str) -> None:
    with serve(stream(*SPEAKERS["anthropic-messages"].events(HELLO))) as server:
        ask(model("anthropic-messages", server.url, version=version))
    assert server.received[0].headers["anthropic-version"] == sent


@pytest.mark.parametrize("wire", WIRES)
def test_turns_share_a_connection(wire: str) -> None:
    whole = respond(b"".join(SPEAKERS[wire].events(HELLO)), content_type="text/event-stream")
    with serve(whole) as server, closing(model(wire, server.url)) as asked:
        for _ in range(3):
            assert list(asked.ask(ASKED))[-1] == list(asked.ask(ASKED))[-1]
    assert {received.connection for received in server.received} == {1}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("account", "connections"), [("work", {1}), ("home", {1, 2})])
def test_models_of_one_account_share_a_connection_one_after_the_other(
    wire: str, account: str, connections: set[int]
) -> None:
    whole = respond(b"".join(SPEAKERS[wire].events(HELLO)), content_type="text/event-stream")
    with serve(whole) as server:
        for label in ("work", account):
            with closing(model(wire, server.url, account=label)) as asked:
                ask(asked)
        assert {received.connection for received in server.received} == connections
        close_idle_connections()
        with closing(model(wire, server.url)) as asked:
            ask(asked)
        assert server.received[-1].connection == max(connections) + 1


@pytest.mark.parametrize("wire", WIRES)
def test_a_model_that_goes_on_with_a_kept_connection_can_be_interrupted(wire: str) -> None:
    whole = respond(b"".join(SPEAKERS[wire].events(HELLO)), content_type="text/event-stream")
    with serve(whole, stall(STREAM_HEAD + chunk(CONTENT[wire]))) as server:
        with closing(model(wire, server.url)) as first:
            ask(first)
        with closing(model(wire, server.url)) as second:
            turn = second.ask(ASKED)
            next(turn)
            second.interrupt()
            with pytest.raises(Unreachable):
                list(turn)
        assert {received.connection for received in server.received} == {1}


@pytest.mark.parametrize("wire", WIRES)
def test_deltas_arrive_before_the_response_ends(wire: str) -> None:
    events = SPEAKERS[wire].events(HELLO)
    begun = b"".join(
        chunk(event) for event in events if b"there" not in event and b"stop" not in event.replace(b"stop_", b"")
    )
    with serve(stall(STREAM_HEAD + begun)) as server, closing(model(wire, server.url)) as asked:
        turn = asked.ask(ASKED)
        assert next(turn) == Delta("text", "Hello")


@pytest.mark.parametrize("wire", WIRES)
def test_closing_a_turn_ends_its_request(wire: str) -> None:
    left = threading.Event()
    begun = stall(STREAM_HEAD + b"".join(map(chunk, SPEAKERS[wire].events(HELLO)[:5])))

    def answer(client: socket.socket) -> bool:
        begun(client)  # until the client has left
        left.set()
        return False

    with serve(answer) as server, closing(model(wire, server.url)) as asked:
        turn = asked.ask(ASKED)
        next(turn)
        del turn
        assert left.wait(10)


@pytest.mark.parametrize("wire", WIRES)
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
    wire: str, status: str, type: str, kind: type[ProviderError]
) -> None:
    body = SPEAKERS[wire].error_body(type, "No, sorry")
    with failing(wire, respond(body, status, retry_after="7", x_request_id="req_h"), kind=kind) as (error, _):
        assert (error.message, error.status) == ("No, sorry", int(status[:3]))
        assert (error.provider, error.model, error.account) == ("acme", "model-1", "work")
        assert error.request_id in ("req_b", "req_h")
        assert error.retry_at is not None
        assert error.hint or kind in (Busy, BadRequest)


def test_hints_name_the_source_of_the_key_and_never_the_key() -> None:
    refused = respond(b"", "401 Unauthorized")
    with failing("openai-chat", refused, kind=Unauthorized, key_page="https://keys.test") as (error, _):
        assert error.hint == (
            "check the key in ACME_KEY (create one at https://keys.test), or store another one: autoroute login acme"
        )


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
def test_redirects_are_errors_and_send_no_key(wire: str, status: str, auth: str) -> None:
    with serve(stream(*SPEAKERS[wire].events(HELLO))) as other:
        target = f"{other.url}/v1?x=1".replace("//", "//user:word@")
        moved = respond(b"", status, location=target)
        with failing(wire, moved, kind=BadRequest, auth=auth) as (error, server):
            assert f"redirects to {other.url.removeprefix('http://')};" in error.message
            assert "base_url in [providers.acme]" in error.hint
            assert len(server.received) == 1
    assert other.received == []


@pytest.mark.parametrize("location", ["/elsewhere", "http://[broken", ""])
def test_any_redirect_is_an_error(location: str) -> None:
    with serve(respond(b"", "302 Found", location=location)) as server:
        with pytest.raises(ProviderError):
            ask(model("openai-chat", server.url))
        assert len(server.received) == 1


@pytest.mark.parametrize("wire", WIRES)
def test_a_key_is_never_sent_to_another_origin(wire: str) -> None:
    with serve(stream(*SPEAKERS[wire].events(HELLO))) as server:
        bound = Secret(KEY, origin=origin("https://api.elsewhere.test"), source="ELSEWHERE_KEY")
        asked = connect(profile(wire, server.url), ROUTE, bound, PATIENT)
        with pytest.raises(ConfigError, match="ELSEWHERE_KEY"):
            ask(asked)
    assert server.received == []


def test_without_a_key_nothing_is_sent() -> None:
    with serve(respond()) as server:
        asked = connect(profile("openai-chat", server.url), ROUTE, None, PATIENT)
        with pytest.raises(Unauthorized, match="no key for acme"):
            ask(asked)
    assert server.received == []


@pytest.mark.parametrize("value", ["two\nlines", "with space", "schlüssel", ""])
def test_an_invalid_key_is_rejected_before_it_is_sent(value: str) -> None:
    with serve(respond()) as server:
        secret = Secret(value, origin=origin(server.url), source="ACME_KEY")
        with pytest.raises(Unauthorized, match="ACME_KEY") as caught:
            ask(connect(profile("openai-chat", server.url), ROUTE, secret, PATIENT))
    assert server.received == []
    assert value == "" or value not in "".join(traceback.TracebackException.from_exception(caught.value).format())


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "answer",
    [
        respond(f"You sent {KEY}".encode(), "401 Unauthorized"),
        respond(f'{{"error":{{"message":"{KEY}","code":"{KEY}"}}}}'.encode(), "400 Bad", x_request_id=KEY),
        stream(f'data: {{"error":{{"message":"{KEY}"}}}}\n\n'.encode()),
        stream(f"data: {KEY}\n\n".encode()),
        raw(f"{KEY}\r\n\r\n".encode()),
        raw(b""),
        cut(),
        respond(b"", "302 Found", location=f"http://{KEY}.test/"),
    ],
)
def test_no_error_contains_the_key_even_if_the_server_repeats_it(wire: str, answer: Answer) -> None:
    with failing(wire, answer, kind=ProviderError) as (error, _):
        shown = [repr(error), str(error), error.hint, error.code, error.detail, error.request_id]
        assert KEY not in "".join([*shown, *traceback.format_exception(error)])


@pytest.mark.parametrize("length", [595, 2_395, 3_995])
@pytest.mark.parametrize(
    "answer_with",
    [
        lambda words: respond(f"No: {words}".encode(), "401 Unauthorized"),
        lambda words: respond(json.dumps({"error": {"message": words}}).encode(), "400 Bad"),
        lambda words: respond(json.dumps({"error": {"message": "No", "code": words}}).encode(), "400 Bad"),
        lambda words: respond(f"<title>{words}".encode(), "502 Bad gateway", content_type="text/html"),
        lambda words: stream(b"data: " + json.dumps({"error": {"message": words}}).encode() + b"\n\n"),
        lambda words: stream(f"data: {words}\n\n".encode()),
        lambda words: stream(f"data: [{json.dumps(words)}]\n\n".encode()),
        lambda words: stream(f"data: {words}\xff\n\n".encode("latin-1")),
    ],
)
@pytest.mark.parametrize("before", ["x", " "])
def test_no_truncated_error_contains_part_of_a_key(
    answer_with: Callable[[str], Answer], length: int, before: str
) -> None:
    for less in (0, 90, 400) if length > 600 else (0, 7):
        answer = answer_with(before * (length - less) + KEY)
        with failing("anthropic-messages", answer, kind=ProviderError) as (error, _):
            shown = [repr(error), error.hint, error.code, error.detail, error.request_id]
            assert "sk-can" not in "".join([*shown, *traceback.format_exception(error)])
            assert len(error.message) <= 600
            assert len(error.detail) <= 4_000


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
@pytest.mark.parametrize("answer", [raw(b""), cut(), respond(b"", "401 Unauthorized"), stream(b"data: x\n\n")])
def test_no_frame_of_our_code_has_the_key_in_a_variable(wire: str, auth: str, answer: Answer) -> None:
    with failing(wire, answer, kind=ProviderError, auth=auth) as (error, _):
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in trace.stack if "tests" not in Path(frame.filename).parts]
        assert ours
        assert KEY not in "".join(str(frame.locals) for frame in ours)
        # httpx's exceptions know the request, and the request its headers.
        assert error.__cause__ is None
        assert error.__context__ is None


QUICK = 0.15
FIRST_BYTE = Clocks(connect=10, first_byte=QUICK, idle=20, turn=30)
IDLE = Clocks(connect=10, first_byte=20, idle=QUICK, turn=30)
TURN = Clocks(connect=10, first_byte=20, idle=20, turn=QUICK)

PINGS = {
    "anthropic-messages": [b'event: ping\ndata: {"type":"ping"}\n\n', b": keep-alive\n\n", b'data: {"type":"new"}\n\n'],
    "openai-chat": [
        b": OPENROUTER PROCESSING\n\n",
        b'data: {"choices":[]}\n\n',
        b'data: {"choices":[{"delta":{}}]}\n\n',
    ],
    "openai-responses": [b": keep-alive\n\n", b'data: {"type":"response.novelty"}\n\n'],
}
CONTENT = {
    "anthropic-messages": b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n',
    "openai-chat": b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',
    "openai-responses": b'data: {"type":"response.output_text.delta","output_index":0,"delta":"x"}\n\n',
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "answer", [stall(), stall(b"HTTP/1.1 200 OK\r\n"), drip(b"HTTP/1.1 200 OK\r\n", b"x-slow: 1\r\n"), drip(b"H", b"")]
)
def test_the_first_byte_clock_ends_a_response_that_never_begins(wire: str, answer: Answer) -> None:
    with failing(wire, answer, kind=Unreachable, clocks=FIRST_BYTE) as (error, _):
        assert error.message == "no response within 0.15 s"
        assert error.retryable


def ask_once(url: str, clocks: Clocks = PATIENT) -> None:
    ask(model("openai-chat", url, clocks))


def fetch_once(url: str, clocks: Clocks = PATIENT) -> None:
    secret = Secret(KEY, origin=origin(url), source="ACME_KEY")
    fetch_json(profile("openai-chat", url), "models", ROUTE, secret, clocks)


REQUESTS = pytest.mark.parametrize("send", [ask_once, fetch_once])
OOPS = b"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\n\r\n"
BOMB = gzip.compress(gzip.compress(bytes(16 * 1024 * 1024)))


@REQUESTS
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (drip(b"HTTP/1.1 200 OK\r\nx: ", b"a"), "no response within 0.15 s"),
        (drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "no response within 0.15 s"),
        (drip(OOPS, b"a"), "aaa"),
    ],
    ids=["headers", "1xx", "an error's body"],
)
def test_no_request_waits_for_a_dripping_server(
    send: Callable[[str, Clocks], None], answer: Answer, words: str
) -> None:
    with serve(answer) as server, pytest.raises(Unreachable) as caught:
        send(server.url, FIRST_BYTE)
    assert words in caught.value.message


@pytest.mark.parametrize("length", [b"", b"content-length: 1000000\r\n"])
def test_a_free_request_does_not_wait_for_a_dripping_body(length: bytes) -> None:
    dripping = drip(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + length + b"\r\n", b" ")
    with serve(dripping) as server, pytest.raises(Unreachable, match=r"no response within 0\.15 s"):
        fetch_once(server.url, FIRST_BYTE)


@REQUESTS
@pytest.mark.parametrize("media", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("coding", ["gzip, gzip", "x-new"])
@pytest.mark.parametrize(
    ("status", "kind"), [("200 OK", BadReply), ("503 Busy", Busy), ("401 Unauthorized", Unauthorized)]
)
def test_a_compressed_response_is_never_unpacked_and_its_header_is_named(
    send: Callable[[str], None], media: str, coding: str, status: str, kind: type[ProviderError]
) -> None:
    packed = respond(BOMB, status, content_type=media, content_encoding=coding)
    with serve(packed) as server, pytest.raises(kind) as caught:
        send(server.url)
    assert f"(content-encoding: {coding})" in caught.value.message
    assert server.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "none", "UTF-8", "Identity, none"])
def test_content_encodings_that_mean_none_are_accepted(coding: str) -> None:
    with serve(stream(*SPEAKERS["openai-chat"].events(HELLO), content_encoding=coding)) as server:
        ask_once(server.url)
    with serve(respond(b"{}", content_encoding=coding)) as server:
        fetch_once(server.url)


@REQUESTS
def test_only_the_beginning_of_an_endless_error_is_read(send: Callable[[str], None]) -> None:
    flood = Flood(OOPS)
    with serve(flood) as server, pytest.raises(Unreachable):
        send(server.url)
    assert flood.taken < 32 * 1024 * 1024  # what the buffers of both sockets hold


def test_a_free_request_reads_no_endless_list() -> None:
    flood = Flood(b"HTTP/1.1 200 OK\r\n\r\n")
    with serve(flood) as server, pytest.raises(BadReply, match="longer than 16 MiB"):
        fetch_once(server.url)
    assert flood.taken < 64 * 1024 * 1024


@pytest.mark.parametrize(("wire", "ping"), [(wire, ping) for wire in WIRES for ping in PINGS[wire]])
def test_pings_do_not_restart_the_idle_clock(wire: str, ping: bytes) -> None:
    with failing(wire, drip(STREAM_HEAD, chunk(ping)), kind=Unreachable, clocks=IDLE) as (error, _):
        assert error.message == "no new content for 0.15 s"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("begun", [b"", chunk(b"data: {"), b"ff\r\nda"])
def test_the_idle_clock_ends_a_response_that_stalls(wire: str, begun: bytes) -> None:
    answer = stall(STREAM_HEAD + chunk(CONTENT[wire]) + begun)
    with failing(wire, answer, kind=Unreachable, clocks=IDLE) as (error, _):
        assert error.message == "no new content for 0.15 s"


@pytest.mark.parametrize("wire", WIRES)
def test_the_turn_clock_ends_an_endless_response(wire: str) -> None:
    with failing(wire, drip(STREAM_HEAD, chunk(CONTENT[wire])), kind=Unreachable, clocks=TURN) as (error, _):
        assert error.message == "the turn took longer than 0.15 s"


@pytest.mark.parametrize("wire", WIRES)
def test_the_idle_clock_is_paused_while_the_consumer_is_slow(wire: str) -> None:
    left = threading.Event()
    begun = stall(STREAM_HEAD + chunk(CONTENT[wire]))

    def answer(client: socket.socket) -> bool:
        begun(client)
        left.set()
        return False

    with serve(answer) as server, closing(model(wire, server.url, IDLE)) as asked:
        turn = asked.ask(ASKED)
        assert next(turn) == Delta("text", "x")
        assert not left.wait(3 * QUICK)
        with pytest.raises(Unreachable, match="no new content"):
            next(turn)
        assert left.wait(10)


@pytest.mark.parametrize("wire", WIRES)
def test_content_restarts_the_idle_clock(wire: str) -> None:
    longer = Clocks(connect=10, first_byte=20, idle=5, turn=0.4)
    with failing(wire, drip(STREAM_HEAD, chunk(CONTENT[wire])), kind=Unreachable, clocks=longer) as (error, _):
        assert error.message == "the turn took longer than 0.4 s"


def test_an_error_whose_body_stalls_is_still_read() -> None:
    head = b"HTTP/1.1 429 Too Many\r\ncontent-length: 900\r\n\r\nslow down"
    soon = Clocks(connect=10, first_byte=1, idle=20, turn=30)
    with failing("openai-chat", stall(head), kind=Busy, clocks=soon) as (error, _):
        assert error.message == "slow down"


@pytest.mark.parametrize("wire", WIRES)
def test_a_complete_reply_counts_although_the_stream_does_not_end(wire: str) -> None:
    whole = b"".join(map(chunk, SPEAKERS[wire].events(HELLO)))
    with serve(stall(STREAM_HEAD + whole)) as server:
        assert ask(model(wire, server.url)).message.text == "Hello there"


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_cut_before_its_stop_reason_is_unreachable(wire: str) -> None:
    events = SPEAKERS[wire].events(HELLO)
    for end in range(len(events)):
        stopped = b"stop_reason" in b"".join(events[1:end]) or b'"finish_reason": "stop"' in b"".join(events[:end])
        with serve(cut(*events[:end])) as server:
            asked = model(wire, server.url)
            if stopped:
                assert ask(asked).message.text == "Hello there"
            else:
                with pytest.raises(Unreachable, match="cut off"):
                    ask(asked)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (raw(b"garbage\r\n\r\n"), Unreachable, "not valid HTTP"),
        (raw(b""), Unreachable, "cut off"),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhm"), Unreachable, "cut off"),
        (raw(STREAM_HEAD + b"zz\r\n"), Unreachable, "not valid HTTP"),
        (stream(b"garbage\n\n"), Unreachable, "cut off"),
        (stream(b"data: garbage\n\n"), BadReply, "not valid JSON"),
        (stream(b"data: [1]\n\n"), BadReply, "not a JSON object"),
        (stream(b"data: " + b"[" * 50_000 + b"\n\n"), BadReply, "nested more than 128 deep"),
        (stream(b"data: \xff\n\n"), BadReply, "UTF-8"),
        (stream(*[b"x" * 1_000_000] * 5), BadReply, "a line of more than"),
        (stream(*[b":" + b" " * 1_000_000 + b"\n\n"] * 70), BadReply, "a stream of more than"),
        (stream(b"not gzip", content_encoding="gzip"), BadReply, "compression"),
        (respond(b"<title>Log in</title>", content_type="text/html"), BadReply, "HTML page: Log in"),
        (respond(b"<title>Bad gateway</title>", "502 Bad", **HTML), Unreachable, "HTML page: Bad gateway"),
        (respond(b"<h1>no", "403 Forbidden", **HTML), Unauthorized, "HTML page"),
        (respond(b'{"content":[]}', content_type="application/json"), BadReply, "not a stream"),
        (respond(b"x" * 1_000_000, "503 Busy"), Busy, "xxx"),
        (respond(b"", "204 No Content"), Unreachable, "cut off"),
    ],
)
def test_hostile_responses_raise_provider_errors(
    wire: str, answer: Answer, kind: type[ProviderError], words: str
) -> None:
    with failing(wire, answer, kind=kind) as (error, _):
        assert words in error.message


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable, match="could not connect") as caught:
        ask(model("openai-chat", url))
    assert "base_url in [providers.acme]" in caught.value.hint


def test_a_plain_http_server_behind_an_https_address_is_unreachable() -> None:
    with serve(raw(b"HTTP/1.1 400 Bad\r\n\r\n")) as server, pytest.raises(Unreachable, match="SSL"):
        ask(model("openai-chat", server.url.replace("http:", "https:")))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://[broken", "http://h:99999", "model.test/v1"])
def test_an_invalid_base_url_is_rejected_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url in \[providers.acme\]"):
        connect(profile("openai-chat", url), ROUTE, None, PATIENT)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/\x00", f"http://{'a' * 70}.test"])
def test_a_base_url_with_an_invalid_host_or_path_is_reported(url: str) -> None:
    with pytest.raises(BadRequest, match="base URL"):
        ask(connect(profile("openai-chat", url, auth="none"), ROUTE, None, PATIENT))


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


HTTPX = [
    error
    for error in vars(httpx).values()
    if isinstance(error, type) and issubclass(error, Exception) and not issubclass(error, Warning)
]


def test_the_list_of_httpx_errors_is_complete() -> None:
    roots = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)
    assert set(HTTPX) == set().union(*map(subclasses, roots))


@pytest.mark.parametrize("kind", HTTPX)
def test_every_error_of_httpx_is_mapped(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "words")
    ours = translate(error, PATIENT)
    assert isinstance(ours, ProviderError)
    assert "{" not in ours.message
    assert ours.retryable == (
        kind not in (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects, httpx.InvalidURL)
    )


@pytest.mark.parametrize("wire", WIRES)
def test_the_digest_is_that_of_the_body_that_arrives(wire: str) -> None:
    longer = request(*ASKED.messages, Message("assistant", (Text("yes?"),)), Message("user", (Text("né 😀"),)))
    with serve(stream(*SPEAKERS[wire].events(HELLO))) as server, closing(model(wire, server.url)) as asked:
        digests = []
        for one in (ASKED, longer, longer, ASKED):
            digests.append(asked.digest(one))
            assert asked.digest(one) == digests[-1]
            list(asked.ask(one))
    assert digests == [hashlib.sha256(received.body).hexdigest() for received in server.received]
    assert digests[0] == digests[3] != digests[1] == digests[2]


@pytest.mark.parametrize("wire", WIRES)
def test_the_body_is_encoded_once_for_its_digest_and_its_request(wire: str) -> None:
    codec = Counting(SPEAKERS[wire].codec(profile(wire)))
    with serve(stream(*SPEAKERS[wire].events(HELLO))) as server:
        asked = http.connect(codec, profile(wire, server.url, auth="none"), ROUTE, None, PATIENT)
        with closing(asked):
            asked.digest(ASKED)
            # Equal, and another object: what PromptedToolModel sends is made anew for each call.
            list(asked.ask(replace(ASKED)))
            assert codec.encoded == 1
            list(asked.ask(ASKED))
            assert codec.encoded == 2


@dataclass
class Counting:
    """A codec that counts what it encodes."""

    codec: Codec
    encoded: int = 0

    @property
    def path(self) -> str:
        return self.codec.path

    @property
    def headers(self) -> dict[str, str]:
        return self.codec.headers

    def encode(self, request: Request) -> bytes:
        self.encoded += 1
        return self.codec.encode(request)

    def decoder(self, request: Request) -> Decoder:
        return self.codec.decoder(request)


SILENT = {
    "silent": stall(),
    "silent after the status": stall(b"HTTP/1.1 200 OK\r\n"),
    "dripping headers": drip(b"HTTP/1.1 200 OK\r\nx: ", b"a"),
}


def busy(wire: str) -> dict[str, Answer]:
    return {
        "silent after a delta": stall(STREAM_HEAD + chunk(CONTENT[wire])),
        "streaming": drip(STREAM_HEAD, chunk(CONTENT[wire])),
        "dripping pings": drip(STREAM_HEAD, chunk(PINGS[wire][0])),
        "dripping an error": drip(OOPS, b"a"),
    }


@pytest.mark.parametrize(("wire", "how"), [(wire, how) for wire in WIRES for how in (*SILENT, *busy(wire))])
def test_another_thread_interrupts_a_request_within_a_second(wire: str, how: str) -> None:
    asked: list[Model] = []
    with (
        Interruption(lambda: asked[0].interrupt(), {**SILENT, **busy(wire)}[how]) as interruption,
        serve(interruption, stream(*SPEAKERS[wire].events(HELLO))) as server,
        closing(model(wire, server.url)) as one,
    ):
        asked.append(one)
        with pytest.raises(Unreachable) as caught:
            list(one.ask(ASKED))
        assert interruption.seconds < 1
        assert caught.value.message == "the request was interrupted" or how == "dripping an error"
        # Only that request: the same model answers the next one.
        assert isinstance(list(one.ask(ASKED))[-1], Reply)


@pytest.mark.parametrize("wire", WIRES)
def test_an_interrupt_between_requests_has_no_effect(wire: str) -> None:
    with serve(stream(*SPEAKERS[wire].events(HELLO))) as server, closing(model(wire, server.url)) as asked:
        for _ in range(2):
            asked.interrupt()
            turn = asked.ask(ASKED)
            asked.interrupt()  # nothing was sent yet
            assert isinstance(list(turn)[-1], Reply)
    assert {received.connection for received in server.received} == {1}


@pytest.mark.parametrize("wire", WIRES)
def test_a_request_can_be_interrupted_by_the_thread_that_reads_it(wire: str) -> None:
    with serve(stall(STREAM_HEAD + chunk(CONTENT[wire]))) as server, closing(model(wire, server.url)) as asked:
        turn = asked.ask(ASKED)
        next(turn)
        asked.interrupt()  # as a signal handler does
        with pytest.raises(Unreachable, match="the request was interrupted"):
            next(turn)


@pytest.mark.parametrize("wire", ["anthropic-messages", "openai-chat"])
def test_a_reply_that_is_complete_is_not_lost_by_an_interrupt(wire: str) -> None:
    asked: list[Model] = []
    almost = stall(STREAM_HEAD + b"".join(map(chunk, SPEAKERS[wire].events(HELLO)[:-1])))
    with (
        Interruption(lambda: asked[0].interrupt(), stall()) as interruption,
        serve(almost) as server,
        closing(model(wire, server.url)) as one,
    ):
        asked.append(one)
        turn = one.ask(ASKED)
        assert [next(turn), next(turn)] == [Delta("text", "Hello"), Delta("text", " there")]
        interruption.begin()
        assert isinstance(list(turn)[-1], Reply)
        assert interruption.seconds < 1


def test_close_releases_everything() -> None:
    with serve(stream(*SPEAKERS["openai-chat"].events(HELLO))) as server:
        asked = model("openai-chat", server.url)
        list(asked.ask(ASKED))
        asked.close()
        asked.close()
        del asked
        gc.collect()  # an unclosed socket would be a ResourceWarning, which is an error here


RUN = """
import sys
from tests.wire.speakers import model, request
from autoroute.messages import Message, Text
from autoroute.errors import AutorouteError
try:
    print(list(model(sys.argv[1], sys.argv[2]).ask(request(Message("user", (Text("hi"),)))))[-1].message.text)
except AutorouteError as error:
    print(type(error).__name__, error, error.hint)
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    base = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**base, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def test_the_users_proxy_is_used_but_never_for_this_machine() -> None:
    with (
        serve(raw(b"HTTP/1.1 403 no\r\n\r\n")) as proxy,
        serve(stream(*SPEAKERS["openai-chat"].events(HELLO))) as server,
    ):
        here = run(RUN, "openai-chat", server.url, HTTP_PROXY=proxy.url, ALL_PROXY=proxy.url)
        assert here == "Hello there\n"
        assert proxy.received == []
        there = run(RUN, "openai-chat", "http://model.test", HTTP_PROXY=proxy.url)
        assert there.startswith("Unauthorized")
        assert proxy.received[0].target == "http://model.test/chat/completions"


@pytest.mark.parametrize("environment", [{"SSL_CERT_FILE": "/no/such/file"}, {"ALL_PROXY": "gopher://127.0.0.1"}])
def test_unusable_proxy_settings_are_reported(environment: dict[str, str]) -> None:
    output = run(RUN, "openai-chat", "https://model.test", **environment)
    assert output.startswith("ConfigError the proxy or certificate settings of the environment cannot be used")


def test_the_package_loads_nothing_heavy_and_a_wire_never_the_sdk() -> None:
    loaded = "print({'httpx', 'anthropic', 'openai'} & sys.modules.keys())"
    assert run(f"import sys, autoroute.wire; {loaded}") == "set()\n"
    with serve(stream(*SPEAKERS["anthropic-messages"].events(HELLO))) as server:
        output = run(f"{RUN}\n{loaded}", "anthropic-messages", server.url)
    assert output == "Hello there\n{'httpx'}\n"


def test_a_watchdog_with_a_lock_left_taken_by_a_cancellation_lets_its_request_end() -> None:
    with Watchdog(Clocks(), Connection()) as watchdog:
        watchdog._changed.acquire()  # as a signal does that strikes right after the lock was taken
    assert watchdog.cut_reason == ""

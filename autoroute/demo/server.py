"""A loopback server that plays model vendors: the real wires over HTTP with SSE, their rules, and faults on request.

The first part of a path is the vendor (``base_url`` is ``http://127.0.0.1:PORT/zai``), the end of it picks the wire.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import MappingProxyType, TracebackType
from typing import Any

from autoroute.demo.dialects import DIALECTS, Answer, Conversation, Dialect
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply, ScriptExhausted

LOOK = "look"
PROBE = "echo"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that arrived, and the status that answered it. Header names are lower case."""

    vendor: str
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    body: dict[str, Any]
    status: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, ``times`` times, with requests to ``vendor`` that offer the tool ``offers``.

    Without ``offers`` it is any turn of a run; ``PROBE`` means preflight's probe, ``LOOK`` a free GET. With ``key`` it
    strikes only who sends that key.

    With ``answered`` it strikes only a conversation that has so many replies. ``kind`` is one of ``FAULTS``. ``body``
    is sent as JSON, or as it is when it is text; ``after_events`` counts the events of the stream that still arrive.
    """

    kind: str
    offers: str = ""
    vendor: str = ""
    times: int = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = ""
    after_events: int = 2
    answered: int | None = None
    key: str = ""


class ModelServer:
    """A context manager; ``url`` is where it listens, ``requests`` what has arrived, ``violations`` what broke a rule.

    ``keys`` maps a vendor to the one key it accepts, ``served_models`` a model's name to the one that answers say;
    vendors in ``reasoning_replay`` want their reasoning back with every tool call; ``models`` are those it lists;
    ``headers`` come with every answer that streams;
    ``port`` 0 is a free one.
    """

    def __init__(
        self,
        script: Script,
        *,
        keys: Mapping[str, str] | None = None,
        faults: Sequence[Fault] = (),
        served_models: Mapping[str, str] | None = None,
        reasoning_replay: Sequence[str] = (),
        models: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        unknown = {fault.kind for fault in faults} - set(FAULTS)
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
        self.script = Script((*script.rules, *_PROBED.rules))
        self.keys = dict(keys or {})
        self.served_models = dict(served_models or {})
        self.reasoning_replay = frozenset(reasoning_replay)
        self.models = tuple(models)
        self.headers = dict(headers or {})
        self.requests: list[Recorded] = []
        self.violations: list[str] = []
        self.stopping = threading.Event()
        self.numbers = count(1)
        self._faults = [fault for fault in faults for _ in range(fault.times)]
        self._lock = threading.Lock()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="model server")

    @property
    def url(self) -> str:
        """Where it listens; append ``/VENDOR``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def asked(self) -> list[Recorded]:
        """The turns of a run: what preflight looked at and tried is not among them."""
        return [
            request
            for request in self.requests
            if request.method == "POST" and PROBE not in json.dumps(request.body.get("tools", []))
        ]

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def record(self, request: Recorded, violations: Sequence[str] = ()) -> None:
        """Write down a request and what was wrong with it."""
        with self._lock:
            self.requests.append(request)
            self.violations += [f"{request.path}: {violation}" for violation in violations]

    def take_fault(self, vendor: str, offered_tools: Sequence[str], answered: int = 0, key: str = "") -> Fault | None:
        """The next fault for such a request, used up by being taken."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                meant = fault.offers in offered_tools if fault.offers else not {LOOK, PROBE} & set(offered_tools)
                same = fault.vendor in ("", vendor) and fault.key in ("", key)
                if meant and same and fault.answered in (None, answered):
                    return self._faults.pop(place)
        return None


class _Server(ThreadingHTTPServer):
    """Threads a connection, all of which end with the server."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, owner: ModelServer, port: int) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""

    def hang_up(self) -> None:
        """End the connections that clients keep alive, so that their threads end too."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._open.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """The requests are recorded instead."""

    def do_GET(self) -> None:
        """A free look: the list of models, or any other address that proves a key."""
        owner, vendor = self.server.owner, self._vendor()
        fault = owner.take_fault(vendor, (LOOK,))
        allowed = self._key_fits(vendor)
        status = fault.status if fault else 200 if allowed else 401
        owner.record(Recorded(vendor, "GET", self.path, self._headers(), b"", {}, status))
        if fault:
            FAULTS[fault.kind](self, fault, iter(()))
            return
        dialect = DIALECTS["/v1/messages" if "anthropic-version" in self.headers else "/chat/completions"]
        listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in owner.models]}
        self.send_json(status, listed if allowed else _refused_key(vendor, dialect))

    def do_POST(self) -> None:
        owner, vendor = self.server.owner, self._vendor()
        length = int(self.headers.get("content-length", 0))
        raw = self.rfile.read(length)
        if len(raw) < length:
            self.close_connection = True  # the client is gone in the middle of it: that was no request
            return
        headers = self._headers()
        address = self.path.partition("?")[0]
        dialect = next((known for end, known in DIALECTS.items() if address.endswith(end)), None)
        if dialect is None:
            owner.record(Recorded(vendor, "POST", self.path, headers, raw, {}, 404))
            self.send_json(404, {"error": {"message": f"no such path: {self.path}"}})
            return
        body = _object(raw)
        violations = dialect.breaches(body, headers, vendor, reasoning_replay=vendor in owner.reasoning_replay)
        conversation = dialect.conversation(body)
        status, fault = 200, None
        if not self._key_fits(vendor):
            status, violations = 401, []
        elif violations:
            status = 400
        else:
            fault = owner.take_fault(vendor, conversation.offered_tools, conversation.answered, self._key())
        recorded = fault.status if fault and fault.kind in ("status", "redirect") else status
        owner.record(Recorded(vendor, "POST", self.path, headers, raw, body, recorded), violations)
        if status == 401:
            self.send_json(401, _refused_key(vendor, dialect))
        elif status == 400:
            self.send_json(400, dialect.error(400, violations[0]))
        else:
            self._answer(dialect, conversation, body, raw, fault)

    def _answer(
        self, dialect: Dialect, conversation: Conversation, body: dict[str, Any], raw: bytes, fault: Fault | None
    ) -> None:
        owner = self.server.owner
        try:
            reply = owner.script.reply(conversation.offered_tools, conversation.first_words, conversation.answered)
        except ScriptExhausted as error:
            self.send_json(400, dialect.error(400, error.message))
            return
        requested = str(body.get("model"))
        tokens = len(raw) // 4
        cached = tokens * 9 // 10 if conversation.answered else 0
        served = owner.served_models.get(requested, requested)
        answer = Answer(reply, served, requested, next(owner.numbers), tokens - cached, cached)
        events = dialect.events(answer, body)
        if fault:
            FAULTS[fault.kind](self, fault, events)
        else:
            self.stream(events)

    def stream(self, events: Iterator[bytes]) -> None:
        """Send events as they come, to the proper end of the answer."""
        self.start_stream()
        for event in events:
            self.send_chunk(event)
        self.wfile.write(b"0\r\n\r\n")

    def start_stream(self) -> None:
        """The head of an answer that streams."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in self.server.owner.headers.items():
            self.send_header(name, value)
        self._send_request_id()
        self.end_headers()

    def send_chunk(self, data: bytes) -> None:
        """A piece of the body."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def send_json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer; text is sent as it is."""
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self._send_request_id()
        self.end_headers()
        self.wfile.write(data)

    def hang_up(self) -> None:
        """End the connection in the middle of an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send_request_id(self) -> None:
        name = "request-id" if self.path.partition("?")[0].endswith("/messages") else "x-request-id"
        self.send_header(name, f"req_{len(self.server.owner.requests):06}")

    def _vendor(self) -> str:
        return self.path.split("/")[1]

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _key_fits(self, vendor: str) -> bool:
        key = self.server.owner.keys.get(vendor)
        return key is None or self._key() == key

    def _key(self) -> str:
        return self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")


def _send_status(handler: _Handler, fault: Fault, _events: Iterator[bytes]) -> None:
    handler.send_json(fault.status, fault.body, fault.headers)


def _redirect(handler: _Handler, fault: Fault, _events: Iterator[bytes]) -> None:
    handler.send_json(fault.status if 300 <= fault.status < 400 else 307, "", {"Location": str(fault.body)})


def _begin(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    handler.start_stream()
    for _, event in zip(range(fault.after_events), events, strict=False):
        handler.send_chunk(event)


def _drop(handler: _Handler, _fault: Fault, _events: Iterator[bytes]) -> None:
    """Hang up without a byte, as a server does that is going down."""
    handler.hang_up()


def _cut(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    handler.hang_up()


def _send_garbage(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    handler.send_chunk(b"data: {\x00\xff not json\n\n")
    handler.hang_up()


def _stall(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    _wait_for_the_client_to_leave(handler)


def _ping_forever(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    while not handler.server.owner.stopping.wait(0.01):
        handler.send_chunk(b'event: ping\ndata: {"type":"ping"}\n\n')


def _send_error_event(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    handler.send_chunk(b"event: error\ndata: " + json.dumps(fault.body).encode() + b"\n\n")
    handler.hang_up()


def _misname(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    """Answer as another model than the one asked for: ``body`` is ``{"asked", "served"}``."""
    asked, served = (json.dumps(fault.body[name]).encode() for name in ("asked", "served"))
    handler.stream(event.replace(asked, served) for event in events)


def _wait_for_the_client_to_leave(handler: _Handler) -> None:
    """Until the client or the server hangs up: reading then says that nothing more comes."""
    while not handler.server.owner.stopping.is_set() and handler.connection.recv(1024):
        pass
    handler.close_connection = True


FAULTS: Mapping[str, Callable[[_Handler, Fault, Iterator[bytes]], None]] = MappingProxyType(
    {
        "status": _send_status,
        "redirect": _redirect,
        "drop": _drop,
        "cut": _cut,
        "garbage": _send_garbage,
        "stall": _stall,
        "pings": _ping_forever,
        "error_event": _send_error_event,
        "misname": _misname,
    }
)


_PROBED = Script(
    (
        Rule(
            PROBE,
            "",
            (
                ScriptedReply(thinking="One call.", calls=(ScriptedCall(PROBE, '{"word":"ready"}'),)),
                ScriptedReply(text="ready"),
            ),
        ),
    )
)
"""What preflight's probe is answered, unless a script knows better."""


def _object(raw: bytes) -> dict[str, Any]:
    """The body; empty when it is not of the shape that all dialects share."""
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    said = [body.get("messages", []), [] if isinstance(body.get("input"), str) else body.get("input", [])]
    shaped = all(isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in said)
    return body if shaped else {}


def _refused_key(vendor: str, dialect: Dialect) -> Any:
    """A refusal in the vendor's own words; Z.AI answers with its own envelope on both wires (docs.z.ai, api-code)."""
    if vendor.startswith("zai"):
        return {"error": {"code": "1002", "message": "Authorization Token Invalid, please confirm the correctness."}}
    return dialect.error(401, "invalid x-api-key" if vendor == "anthropic" else "Incorrect API key provided.")

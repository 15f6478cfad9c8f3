"""A loopback server that imitates model vendors: the real wires over HTTP with SSE, their rules, and faults on request.

The first part of a path is the vendor (``base_url`` is ``http://127.0.0.1:PORT/zai``), its end selects the wire.
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

from autoroute.demo.dialects import DIALECTS, Dialect, RequestSummary, ServedReply
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply, ScriptExhausted

FREE_GET = "free-get"
"""In ``Fault.offers``: a GET that costs nothing, such as the list of models."""
PROBE = "echo"
"""In ``Fault.offers``: the tool call with which preflight probes a model."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that arrived, and the status of its response. Header names are in lower case."""

    vendor: str
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    body: dict[str, Any]
    status: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of the next ``times`` requests to ``vendor`` that offer the tool ``offers``.

    Without ``offers`` it affects every turn of a run; ``PROBE`` means preflight's probe, ``FREE_GET`` a free GET. With
    ``key`` it affects only requests with that key, with ``answered`` only conversations with that many replies.

    ``kind`` is one of ``FAULTS``. ``body`` is sent as JSON, or unchanged if it is text; ``after_events`` is the number
    of events of the stream that still arrive.
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
    """A model server on a thread, as a context manager. ``url`` is its address.

    ``requests`` has the requests that arrived, ``violations`` the vendors' rules that they broke. ``keys`` maps a
    vendor to the one key that it accepts, ``served_models`` a requested model to the model that responses name.
    Vendors in ``reasoning_replay`` require their reasoning back with every tool call. ``models`` are the listed models,
    ``headers`` are added to every stream. ``port`` 0 selects a free port.
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
            raise ValueError(f"unknown fault: {', '.join(sorted(unknown))}; the faults are {', '.join(FAULTS)}")
        self.script = Script((*script.rules, *_PROBE_SCRIPT.rules))
        self.keys = dict(keys or {})
        self.served_models = dict(served_models or {})
        self.reasoning_replay = frozenset(reasoning_replay)
        self.models = tuple(models)
        self.headers = dict(headers or {})
        self.requests: list[RecordedRequest] = []
        self.violations: list[str] = []
        self.stopping = threading.Event()
        self.numbers = count(1)
        self._faults = [fault for fault in faults for _ in range(fault.times)]
        self._lock = threading.Lock()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="model server")

    @property
    def url(self) -> str:
        """The address of the server; append ``/VENDOR``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def turns(self) -> list[RecordedRequest]:
        """The requests for turns of a run, without those of preflight."""
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
        self._server.close_connections()
        self._server.server_close()

    def record(self, request: RecordedRequest, violations: Sequence[str] = ()) -> None:
        """Record a request and the rules that it broke."""
        with self._lock:
            self.requests.append(request)
            self.violations += [f"{request.path}: {violation}" for violation in violations]

    def take_fault(self, vendor: str, offered_tools: Sequence[str], answered: int = 0, key: str = "") -> Fault | None:
        """Return the next fault for such a request and remove it from the list."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                is_preflight = bool({FREE_GET, PROBE} & set(offered_tools))
                fits_tools = fault.offers in offered_tools if fault.offers else not is_preflight
                fits_client = fault.vendor in ("", vendor) and fault.key in ("", key)
                if fits_tools and fits_client and fault.answered in (None, answered):
                    return self._faults.pop(index)
        return None


class _Server(ThreadingHTTPServer):
    """A server with one thread for each connection; all of them end with it."""

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
        """Print nothing: clients that disconnect are part of the tests."""

    def close_connections(self) -> None:
        """Close the connections that clients keep alive, so that their threads end."""
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
        """Print nothing: requests are recorded instead."""

    def do_GET(self) -> None:
        """Answer a free GET: the list of models, or any other address that checks a key."""
        owner, vendor = self.server.owner, self._vendor()
        fault = owner.take_fault(vendor, (FREE_GET,))
        allowed = self._accepts_key(vendor)
        status = fault.status if fault else 200 if allowed else 401
        owner.record(RecordedRequest(vendor, "GET", self.path, self._headers(), b"", {}, status))
        if fault:
            FAULTS[fault.kind](self, fault, iter(()))
            return
        dialect = DIALECTS["/v1/messages" if "anthropic-version" in self.headers else "/chat/completions"]
        listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in owner.models]}
        self.send_json(status, listed if allowed else _key_error(vendor, dialect))

    def do_POST(self) -> None:
        owner, vendor = self.server.owner, self._vendor()
        length = int(self.headers.get("content-length", 0))
        raw = self.rfile.read(length)
        if len(raw) < length:
            self.close_connection = True  # the client left in the middle of the body: not a request
            return
        headers = self._headers()
        address = self.path.partition("?")[0]
        dialect = next((known for end, known in DIALECTS.items() if address.endswith(end)), None)
        if dialect is None:
            owner.record(RecordedRequest(vendor, "POST", self.path, headers, raw, {}, 404))
            self.send_json(404, {"error": {"message": f"path not found: {self.path}"}})
            return
        body = _parse_body(raw)
        violations = dialect.violations(body, headers, vendor, reasoning_replay=vendor in owner.reasoning_replay)
        conversation = dialect.summarize(body)
        status, fault = 200, None
        if not self._accepts_key(vendor):
            status, violations = 401, []
        elif violations:
            status = 400
        else:
            fault = owner.take_fault(vendor, conversation.offered_tools, conversation.answered, self._key())
        recorded = fault.status if fault and fault.kind in ("status", "redirect") else status
        owner.record(RecordedRequest(vendor, "POST", self.path, headers, raw, body, recorded), violations)
        if status == 401:
            self.send_json(401, _key_error(vendor, dialect))
        elif status == 400:
            self.send_json(400, dialect.error(400, violations[0]))
        else:
            self._answer(dialect, conversation, body, raw, fault)

    def _answer(
        self, dialect: Dialect, conversation: RequestSummary, body: dict[str, Any], raw: bytes, fault: Fault | None
    ) -> None:
        owner = self.server.owner
        try:
            reply = owner.script.reply(conversation.offered_tools, conversation.opening, conversation.answered)
        except ScriptExhausted as error:
            self.send_json(400, dialect.error(400, error.message))
            return
        requested = str(body.get("model"))
        tokens = len(raw) // 4
        cached = tokens * 9 // 10 if conversation.answered else 0
        served_model = owner.served_models.get(requested, requested)
        served_reply = ServedReply(reply, served_model, requested, next(owner.numbers), tokens - cached, cached)
        events = dialect.events(served_reply, body)
        if fault:
            FAULTS[fault.kind](self, fault, events)
        else:
            self.stream(events)

    def stream(self, events: Iterator[bytes]) -> None:
        """Send events as they come, and end the response properly."""
        self.start_stream()
        for event in events:
            self.send_chunk(event)
        self.wfile.write(b"0\r\n\r\n")

    def start_stream(self) -> None:
        """Send the status and headers of a streamed response."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in self.server.owner.headers.items():
            self.send_header(name, value)
        self._send_request_id()
        self.end_headers()

    def send_chunk(self, data: bytes) -> None:
        """Send a chunk of the body."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def send_json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole response; text is sent unchanged."""
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self._send_request_id()
        self.end_headers()
        self.wfile.write(data)

    def disconnect(self) -> None:
        """Close the connection in the middle of a response."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send_request_id(self) -> None:
        name = "request-id" if self.path.partition("?")[0].endswith("/messages") else "x-request-id"
        self.send_header(name, f"req_{len(self.server.owner.requests):06}")

    def _vendor(self) -> str:
        return self.path.split("/")[1]

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _accepts_key(self, vendor: str) -> bool:
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
    """Disconnect without sending a byte, as a server does that is shutting down."""
    handler.disconnect()


def _cut(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    handler.disconnect()


def _send_garbage(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    handler.send_chunk(b"data: {\x00\xff not json\n\n")
    handler.disconnect()


def _stall(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    _wait_for_disconnect(handler)


def _ping_forever(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    while not handler.server.owner.stopping.wait(0.01):
        handler.send_chunk(b'event: ping\ndata: {"type":"ping"}\n\n')


def _send_error_event(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    _begin(handler, fault, events)
    handler.send_chunk(b"event: error\ndata: " + json.dumps(fault.body).encode() + b"\n\n")
    handler.disconnect()


def _misname(handler: _Handler, fault: Fault, events: Iterator[bytes]) -> None:
    """Name another model in the response: ``body`` is ``{"asked", "served"}``."""
    asked, served = (json.dumps(fault.body[name]).encode() for name in ("asked", "served"))
    handler.stream(event.replace(asked, served) for event in events)


def _wait_for_disconnect(handler: _Handler) -> None:
    """Wait until the client disconnects or the server stops."""
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


_PROBE_SCRIPT = Script(
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
"""The replies to preflight's probe, unless a script has its own."""


def _parse_body(raw: bytes) -> dict[str, Any]:
    """Return the body as an object, {} if it does not have the shape that all dialects share."""
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    lists = [body.get("messages", []), [] if isinstance(body.get("input"), str) else body.get("input", [])]
    is_valid = all(isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in lists)
    return body if is_valid else {}


def _key_error(vendor: str, dialect: Dialect) -> Any:
    """Return an error in the vendor's words. Z.AI uses its own envelope on both wires (docs.z.ai, api-code)."""
    if vendor.startswith("zai"):
        return {"error": {"code": "1002", "message": "Authorization Token Invalid, please confirm the correctness."}}
    return dialect.error(401, "invalid x-api-key" if vendor == "anthropic" else "Incorrect API key provided.")

"""The model behind every HTTP wire: a codec writes and reads, a transport sends, and clocks bound each turn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from autoroute.errors import AutorouteError, ProviderError, Unreachable
from autoroute.messages import Allowance, Delta, Reply, Request
from autoroute.routing import Clocks
from autoroute.wire.codec import Codec, Decoder
from autoroute.wire.reset_times import read_allowances
from autoroute.wire.response import is_stream, reject_compression, request_id_of
from autoroute.wire.sse import Event
from autoroute.wire.watchdog import Connection, Watchdog

_LATE_EVENTS_SECONDS = 5.0
"""How long the last events (usage) may take once a reply can be built."""
_STREAM_END_SECONDS = 0.25
"""How long a finished stream may take to end, which lets its connection serve the next turn."""


class HttpResponse(Protocol):
    """A response of httpx or httpx2 whose headers have been read and whose body has not."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; names are found in any case."""
        ...

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the bytes of the body as they arrive, not unpacked."""
        ...

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        ...


class EventReader(Protocol):
    """A decoder from the bytes of a stream, however they were split, to events."""

    def feed(self, chunk: bytes) -> Sequence[Event]:
        """Return the events that ``chunk`` completes. Raises ``BadReply``."""
        ...


class Transport(Protocol):
    """An HTTP client for one model of one account, and the only code that knows the client's exceptions."""

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """The exceptions that reading a response may raise; ``translate`` maps each of them."""
        ...

    def send(self, body: bytes, connection: Connection) -> HttpResponse:
        """Send a request body, and return the response once its headers are there.

        ``connection`` learns which socket is used. Raises an ``AutorouteError``.
        """
        ...

    def event_reader(self, headers: Mapping[str, str]) -> EventReader:
        """Return a reader for the body of a response with these headers."""
        ...

    def error_from(self, response: HttpResponse) -> ProviderError:
        """Read the body of a response that is not a stream, and return the error that it means."""
        ...

    def translate(self, error: Exception) -> Exception:
        """Map one of ``exceptions`` to an error of ``errors.py``."""
        ...

    def annotate(self, error: ProviderError) -> None:
        """Add the route and a hint to an error, and redact every key in it."""
        ...

    def close(self) -> None:
        """Close the client and its connections."""
        ...


class StreamingModel:
    """A ``Model`` that streams over HTTP. Its connection is kept between turns."""

    def __init__(self, codec: Codec, transport: Transport, clocks: Clocks) -> None:
        self._codec = codec
        self._transport = transport
        self._clocks = clocks
        self._connection = Connection()
        self._watchdog: Watchdog | None = None
        self._encoded: tuple[Request, bytes] | None = None

    def digest(self, request: Request) -> str:
        """Return the SHA-256 of the request's body; see ``Model``."""
        return hashlib.sha256(self._encode(request)).hexdigest()

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn; see ``Model``."""
        decoder = self._codec.decoder(request)
        request_id = ""
        allowances: tuple[Allowance, ...] = ()
        try:
            body, self._encoded = self._encode(request), None
            with Watchdog(self._clocks, self._connection) as watchdog:
                self._watchdog = watchdog
                try:
                    with closing(self._send(body, watchdog)) as response:
                        request_id = request_id_of(response.headers)
                        if not is_stream(response.status_code, response.headers):
                            raise self._transport.error_from(response)
                        reject_compression(response.headers)
                        allowances = read_allowances(response.headers, datetime.now(UTC))
                        events = self._transport.event_reader(response.headers)
                        yield from _read_stream(response.iter_raw(), events, decoder, watchdog, self._clocks.idle)
                except self._transport.exceptions as error:
                    if not decoder.complete and not watchdog.cut_reason:
                        raise self._transport.translate(error) from None
                finally:
                    self._watchdog = None
            if not decoder.complete:
                raise Unreachable(watchdog.cut_reason or "the response was cut off before its end")
            reply = replace(decoder.reply(request_id), allowances=allowances)
        except ProviderError as error:
            error.request_id = error.request_id or request_id
            self._transport.annotate(error)
            raise
        yield reply

    def interrupt(self) -> None:
        """Cut the connection of the request in flight; see ``Model``."""
        watchdog = self._watchdog
        if watchdog is not None:
            watchdog.interrupt("the request was interrupted")

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _encode(self, request: Request) -> bytes:
        """Return the body of a request, encoded once for ``digest`` and the ``ask`` that follows it."""
        if self._encoded is None or self._encoded[0] != request:
            self._encoded = request, self._codec.encode(request)
        return self._encoded[1]

    def _send(self, body: bytes, watchdog: Watchdog) -> HttpResponse:
        try:
            return self._transport.send(body, self._connection)
        except AutorouteError as error:
            # A cut connection can look like anything, for example like credentials that cannot be read.
            has_status = isinstance(error, ProviderError) and error.status is not None
            if watchdog.cut_reason and not has_status:
                raise Unreachable(watchdog.cut_reason) from None
            raise


def _read_stream(
    chunks: Iterator[bytes], events: EventReader, decoder: Decoder, watchdog: Watchdog, idle_seconds: float
) -> Iterator[Delta]:
    """Yield the deltas of a stream until it ends or the watchdog cuts it."""
    reason = f"no new content for {idle_seconds:g} s"
    watchdog.allow(idle_seconds, reason)
    for chunk in chunks:
        for event in events.feed(chunk):
            deltas = decoder.feed(event)
            if deltas is None:
                continue
            watchdog.pause()
            yield from deltas
            if decoder.done:
                watchdog.allow(_STREAM_END_SECONDS, reason)
            elif decoder.complete:
                watchdog.allow(min(_LATE_EVENTS_SECONDS, idle_seconds), reason)
            else:
                watchdog.allow(idle_seconds, reason)
        if watchdog.cut_reason:
            return

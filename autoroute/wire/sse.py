"""Server-sent events, decoded from bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from dataclasses import dataclass

from autoroute.errors import BadReply

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``name`` is "" when the stream names none."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The most bytes that a line, an event and a whole stream may have."""

    line_bytes: int = 4 * 1024 * 1024
    event_bytes: int = 4 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024


class EventDecoder:
    """A decoder from the bytes of a stream, however they were split, to events.

    A line ends with CR, LF or CRLF and with nothing else. Text decoders (``httpx``'s ``iter_lines``) also split at
    U+2028 and similar characters, which JSON strings may contain unescaped. Comments, ``id`` and ``retry`` are
    ignored, and so is an event that the end of the stream cut off.
    """

    def __init__(self, limits: StreamLimits = StreamLimits()) -> None:
        self._limits = limits
        self._total = 0
        self._line: list[bytes] = []
        self._line_size = 0
        self._after_cr = False
        self._first = True
        self._name = b""
        self._data: list[bytes] = []
        self._data_size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that ``chunk`` completes. Raises ``BadReply`` beyond the limits and for broken UTF-8."""
        if not chunk:
            return []
        self._total += len(chunk)
        self._check("stream", self._total, self._limits.total_bytes)
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        *ended, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events: list[Event] = []
        for piece in ended:
            self._extend_line(piece)
            line = b"".join(self._line) if len(self._line) > 1 else piece
            self._line.clear()
            self._line_size = 0
            event = self._end_line(line)
            if event:
                events.append(event)
        if rest:
            self._extend_line(rest)
        return events

    def _extend_line(self, piece: bytes) -> None:
        self._line.append(piece)
        self._line_size += len(piece)
        self._check("line", self._line_size, self._limits.line_bytes)

    def _end_line(self, line: bytes) -> Event | None:
        if self._first:
            line = line.removeprefix(_BOM)
            self._first = False
        if not line:
            return self._end_event()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
            self._check("event", self._data_size, self._limits.event_bytes)
        elif field == b"event":
            self._name = value
        return None

    def _end_event(self) -> Event | None:
        name, data = self._name, b"\n".join(self._data)
        self._name, self._data, self._data_size = b"", [], 0
        if not data:
            return None
        try:
            return Event(name.decode(), data.decode())
        except UnicodeDecodeError:
            raise BadReply(
                "an event of the stream is not valid UTF-8", detail=data.decode("utf-8", "backslashreplace")
            ) from None

    def _check(self, what: str, size: int, max_bytes: int) -> None:
        if size > max_bytes:
            raise BadReply(f"the response has a {what} of more than {max_bytes} bytes")

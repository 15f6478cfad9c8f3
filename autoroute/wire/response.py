"""What is done alike with an answer, whichever client it comes through: how it is read, and how much of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from autoroute.errors import BadReply, BadRequest, ProviderError
from autoroute.messages import Delta
from autoroute.routing import ProviderProfile
from autoroute.version import __version__
from autoroute.wire.classification import classify_response
from autoroute.wire.codec import Decoder
from autoroute.wire.sse import Event
from autoroute.wire.watchdog import Watchdog

COMMON_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # A compressed answer arrives in blocks, not as it is made, and some bytes of one can stand for gigabytes.
        "accept-encoding": "identity",
        "user-agent": f"autoroute/{__version__}",
    }
)
"""What every request says."""
KEEP_ALIVE_SECONDS = 60.0

_LONGEST_ERROR_BODY = 64 * 1024
_LATE_USAGE = 5.0
"""Seconds that an answer has for its last events, once a reply can be made of it."""
_GOODBYE = 0.25
"""Seconds that a finished answer has to end, which lets the connection serve the next turn."""
_NO_CODINGS = ("", "identity", "none", "utf-8")
"""What servers name as an encoding, by mistake, when there is none."""


class EventReader(Protocol):
    """Turns the bytes of a stream, however they were split, into events."""

    def feed(self, chunk: bytes) -> Sequence[Event]:
        """The events that ``chunk`` completes. Raises ``BadReply``."""
        ...


def is_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is the stream that was asked for, and no refusal, redirect or page."""
    media = headers.get("content-type", "").lower()
    return status // 100 == 2 and "json" not in media and "html" not in media


def read_stream(
    chunks: Iterable[bytes], events: EventReader, decoder: Decoder, watchdog: Watchdog, idle: float
) -> Iterator[Delta]:
    """The deltas of a stream, until it ends or a clock cuts it; ``idle`` is how long it may say nothing new."""
    words = f"nothing new for {idle:g} s"
    watchdog.allow(idle, words)
    for chunk in chunks:
        for event in events.feed(chunk):
            deltas = decoder.feed(event)
            if deltas is None:
                continue
            watchdog.pause()
            yield from deltas
            if decoder.done:
                watchdog.allow(_GOODBYE, words)
            elif decoder.complete:
                watchdog.allow(min(_LATE_USAGE, idle), words)
            else:
                watchdog.allow(idle, words)
        if watchdog.expired:
            return


def read_body(chunks: Iterable[bytes], most: int) -> bytes:
    """A body, of which no more is read once it has more than ``most`` bytes."""
    return b"".join(_up_to(chunks, most))


def read_error_body(status: int, headers: Mapping[str, str], chunks: Iterable[bytes], broken: type[Exception]) -> bytes:
    """The beginning of an error's body, or what came before it broke; of a compressed one, that it is compressed."""
    if _redirects(status):
        return b""
    coding = _coding(headers)
    if coding:
        return _compressed(coding).encode()
    read: list[bytes] = []
    with suppress(broken):
        read.extend(_up_to(chunks, _LONGEST_ERROR_BODY))
    return b"".join(read)[:_LONGEST_ERROR_BODY]


def reject_compression(headers: Mapping[str, str]) -> None:
    """Raise ``BadReply`` for an answer that is compressed: nothing here unpacks what nobody asked for."""
    coding = _coding(headers)
    if coding:
        raise BadReply(
            _compressed(coding),
            hint="a proxy or a gateway on the way may do that: have it keep to the request's accept-encoding: identity",
        )


def refusal(status: int, url: str, headers: Mapping[str, str], body: bytes, profile: ProviderProfile) -> ProviderError:
    """The error that an answer stands for: a redirect, an error, or a body of the wrong kind."""
    if _redirects(status):
        return BadRequest(
            f"{_host(url)} redirects to {_target(url, headers.get('location', ''))}, where no key is sent",
            status=status,
            hint=f"if that is the provider's new address, set base_url of [providers.{profile.name}] to it",
        )
    return classify_response(status, headers, body, profile, datetime.now(UTC))


def loopback_mounts(url: str) -> dict[str, None]:
    """Mounts of a client by which a server on this machine is not asked for through a proxy."""
    host = urlsplit(url).hostname or ""
    return {f"all://[{host}]" if ":" in host else f"all://{host}": None} if _is_this_machine(host) else {}


def _up_to(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The chunks until there are more than ``most`` bytes."""
    for chunk in chunks:
        yield chunk
        most -= len(chunk)
        if most < 0:
            return


def _redirects(status: int) -> bool:
    return status // 100 == 3


def _coding(headers: Mapping[str, str]) -> str:
    """How a body is compressed, "" when it is not."""
    codings = (coding.strip().lower() for coding in headers.get("content-encoding", "").split(","))
    return ", ".join(coding for coding in codings if coding not in _NO_CODINGS)


def _compressed(coding: str) -> str:
    return f"the answer came with a compression that was not asked for (content-encoding: {coding})"


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _target(url: str, location: str) -> str:
    """The host that a redirect of ``url`` leads to."""
    try:
        return _host(urljoin(url, location))
    except ValueError:
        return "an address that is no URL"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

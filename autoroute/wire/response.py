"""How an HTTP response is judged and read, and what every client sends, whichever HTTP library is used."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import urljoin, urlsplit

from autoroute.errors import BadReply, BadRequest, ProviderError
from autoroute.routing import ProviderProfile
from autoroute.version import __version__
from autoroute.wire.classification import classify_response

COMMON_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # A compressed response arrives in blocks and not as the model writes it. A few bytes can also unpack to
        # gigabytes.
        "accept-encoding": "identity",
        "user-agent": f"autoroute/{__version__}",
    }
)
"""The headers that every request carries."""
KEEP_ALIVE_SECONDS = 60.0

_MAX_ERROR_BODY_BYTES = 64 * 1024
_IDENTITY_CODINGS = ("", "identity", "none", "utf-8")
"""Values of content-encoding that servers send, some by mistake, for a body that is not compressed."""
_REQUEST_ID_HEADERS = ("request-id", "x-request-id", "x-amzn-requestid", "apim-request-id")
"""Anthropic; OpenAI and compatible servers; Bedrock; Foundry."""


def is_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether a response is the stream that was asked for: not an error, a redirect or a page."""
    media_type = headers.get("content-type", "").lower()
    return status // 100 == 2 and "json" not in media_type and "html" not in media_type


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the provider's id of a request, which its support asks for; "" when it sent none."""
    return next((value for name in _REQUEST_ID_HEADERS if (value := headers.get(name, ""))), "")


def read_body(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    """Read a body, and stop after the chunk that exceeds ``max_bytes``."""
    return b"".join(_take(chunks, max_bytes))


def read_error_body(status: int, headers: Mapping[str, str], chunks: Iterable[bytes], broken: type[Exception]) -> bytes:
    """Read the first 64 KiB of an error's body, or what came before ``broken`` was raised.

    A redirect has no body worth reading. A compressed body is not unpacked: the text says that it is compressed.
    """
    if _is_redirect(status):
        return b""
    coding = _content_coding(headers)
    if coding:
        return _describe_compression(coding).encode()
    read: list[bytes] = []
    with suppress(broken):
        read.extend(_take(chunks, _MAX_ERROR_BODY_BYTES))
    return b"".join(read)[:_MAX_ERROR_BODY_BYTES]


def reject_compression(headers: Mapping[str, str]) -> None:
    """Raise ``BadReply`` for a compressed response: the request asked for none, and no code here unpacks one."""
    coding = _content_coding(headers)
    if coding:
        raise BadReply(
            _describe_compression(coding),
            hint="a proxy or gateway may compress responses: configure it to honor accept-encoding: identity",
        )


def error_from_response(
    status: int, url: str, headers: Mapping[str, str], body: bytes, profile: ProviderProfile
) -> ProviderError:
    """Return the error that a response means: a redirect, an error, or a body of the wrong kind."""
    if _is_redirect(status):
        error: ProviderError = BadRequest(
            f"{_host(url)} redirects to {_target(url, headers.get('location', ''))}; the key is not sent there",
            status=status,
            hint=f"if that is the provider's new address, set base_url in [providers.{profile.name}] to it",
        )
    else:
        error = classify_response(status, headers, body, profile, datetime.now(UTC))
    error.request_id = error.request_id or request_id_of(headers)
    return error


def loopback_mounts(url: str) -> dict[str, None]:
    """Return a client's ``mounts`` that keep requests to a server on this machine away from any proxy."""
    host = urlsplit(url).hostname or ""
    return {f"all://[{host}]" if ":" in host else f"all://{host}": None} if _is_loopback(host) else {}


def _take(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        max_bytes -= len(chunk)
        if max_bytes < 0:
            return


def _is_redirect(status: int) -> bool:
    return status // 100 == 3


def _content_coding(headers: Mapping[str, str]) -> str:
    """Return how a body is compressed, "" when it is not."""
    codings = (coding.strip().lower() for coding in headers.get("content-encoding", "").split(","))
    return ", ".join(coding for coding in codings if coding not in _IDENTITY_CODINGS)


def _describe_compression(coding: str) -> str:
    return f"the response uses a compression that was not asked for (content-encoding: {coding})"


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _target(url: str, location: str) -> str:
    """Return the host that a redirect of ``url`` leads to."""
    try:
        return _host(urljoin(url, location))
    except ValueError:
        return "an invalid address"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""The one transport: a streaming POST over httpx. It follows no redirects and retries nothing; others decide that."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from autoroute.errors import (
    BadReply,
    BadRequest,
    ConfigError,
    ProviderError,
    Unauthorized,
    Unreachable,
)
from autoroute.messages import Allowance, Delta, Reply, Request
from autoroute.parsing import ParseLimits, Unreadable, read_json
from autoroute.routing import Clocks, ProviderProfile, Route, Secret, origin
from autoroute.wire.classification import annotate_error, check_error_table
from autoroute.wire.codec import Codec
from autoroute.wire.reset_times import read_allowances
from autoroute.wire.response import (
    COMMON_HEADERS,
    KEEP_ALIVE_SECONDS,
    is_stream,
    loopback_mounts,
    read_body,
    read_error_body,
    read_stream,
    refusal,
    reject_compression,
)
from autoroute.wire.sse import EventDecoder
from autoroute.wire.watchdog import Line, Watchdog

_FETCH_TIMEOUT_SECONDS = 20.0
"""Seconds that a free GET may take, to the last byte of its answer."""
_LISTING = ParseLimits(bytes=16 * 1024 * 1024, names=2_000_000, lenient=True)

# Every exception that httpx can raise, by the nearest class in its tree.
# The second value is what is said; httpx's own words follow after a colon only, because others may hold a header.
_EXCEPTIONS: Mapping[type[Exception], tuple[type[ProviderError], str]] = MappingProxyType(
    {
        httpx.HTTPError: (Unreachable, "the request failed"),
        httpx.ConnectTimeout: (Unreachable, "no connection within {connect:g} s"),
        httpx.TimeoutException: (Unreachable, "no answer in time"),
        httpx.NetworkError: (Unreachable, "the connection broke:"),
        httpx.ConnectError: (Unreachable, "no connection:"),
        httpx.ProxyError: (Unreachable, "the proxy of the environment refused:"),
        httpx.UnsupportedProtocol: (BadRequest, "the base URL is neither http:// nor https://"),
        httpx.LocalProtocolError: (BadRequest, "the request cannot be written as HTTP"),
        httpx.RemoteProtocolError: (Unreachable, "the answer was cut off or is no HTTP:"),
        httpx.DecodingError: (BadReply, "the answer's compression is broken"),
        httpx.TooManyRedirects: (BadRequest, "the server redirects"),
        httpx.InvalidURL: (BadRequest, "the base URL is no URL"),
        httpx.CookieConflict: (BadReply, "the answer's cookies contradict each other"),
        httpx.StreamError: (BadReply, "the answer ended before it was read"),
    }
)
_CAUGHT = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)


def translate(error: Exception, clocks: Clocks) -> ProviderError:
    """Our error for one of httpx's. It keeps no reference to the request, whose headers hold the key."""
    kind, words = next(_EXCEPTIONS[base] for base in type(error).__mro__ if base in _EXCEPTIONS)
    return kind(f"{words} {error}" if words.endswith(":") else words.format(connect=clocks.connect))


class _KeyAuth(httpx.Auth):
    """Puts the key into the request at the moment it is sent, for the URL that it is sent to."""

    def __init__(self, scheme: str, secret: Secret) -> None:
        self._scheme = scheme
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        url = str(request.url)
        if not _fits_header(self._secret.reveal(url)):
            raise Unauthorized(f"the key from {self._secret.source} holds characters that no key has (a line break?)")
        if self._scheme == "x-api-key":
            request.headers["x-api-key"] = self._secret.reveal(url)
        else:
            request.headers["authorization"] = f"Bearer {self._secret.reveal(url)}"
        yield request


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value and value != ""


class HttpModel:
    """A model behind HTTP: a codec, an address, a key, and one client whose connection is kept between turns.

    Raises ``ConfigError`` for a profile with an unusable base URL or error table.
    """

    def __init__(
        self, codec: Codec, profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks
    ) -> None:
        _check_address(profile)
        check_error_table(profile)
        self._codec = codec
        self._profile = profile
        self._route = route
        self._secret = secret
        self._clocks = clocks
        self._url = profile.base_url.rstrip("/") + codec.path
        self._client: httpx.Client | None = None
        self._line = Line()

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn; see ``Model``."""
        decoder = self._codec.decoder(request)
        request_id = ""
        left: tuple[Allowance, ...] = ()
        try:
            with Watchdog(self._clocks, self._line) as watchdog:
                try:
                    with closing(self._send(self._codec.encode(request))) as response:
                        request_id = _request_id(response)
                        if not is_stream(response.status_code, response.headers):
                            raise _refusal(response, self._profile)
                        reject_compression(response.headers)
                        left = read_allowances(response.headers, datetime.now(UTC))
                        events = EventDecoder()
                        yield from read_stream(response.iter_raw(), events, decoder, watchdog, self._clocks.idle)
                except _CAUGHT as error:
                    if not decoder.complete and not watchdog.expired:
                        raise translate(error, self._clocks) from None
            if not decoder.complete:
                raise Unreachable(watchdog.expired or "the answer was cut off before its end")
            reply = replace(decoder.reply(request_id), allowances=left)
        except ProviderError as error:
            error.request_id = error.request_id or request_id
            annotate_error(error, self._profile, self._route, self._secret)
            raise
        yield reply

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send(self, body: bytes) -> httpx.Response:
        client = self._open()
        request = client.build_request(
            "POST",
            self._url,
            content=body,
            headers={
                **COMMON_HEADERS,
                "content-type": "application/json",
                "accept": "text/event-stream",
                **self._codec.headers,
            },
            timeout=httpx.Timeout(self._clocks.turn, connect=self._clocks.connect),
            extensions={"trace": self._line.trace},
        )
        return _send(client, request, _auth(self._profile, self._secret))

    def _open(self) -> httpx.Client:
        if self._client is None:
            self._client = _client_for(self._url)
        return self._client


def fetch_json(
    profile: ProviderProfile, path: str, route: Route, secret: Secret | None, clocks: Clocks
) -> tuple[Any, datetime | None]:
    """The JSON that a free GET with the account's key answers, and when; ``path`` is relative to the base URL.

    Raises a ``ProviderError``, ``BadReply`` for an answer that is no JSON.
    """
    _check_address(profile)
    try:
        url = urljoin(profile.base_url.rstrip("/") + "/", path)
        codec_headers = {"anthropic-version": profile.version} if profile.version else {}
        return _get(url, clocks, codec_headers, _auth(profile, secret), profile)
    except ProviderError as error:
        annotate_error(error, profile, route, secret)
        raise


def download_json(url: str, clocks: Clocks) -> Any:
    """The JSON at a public address. Raises a ``ProviderError``."""
    return _get(url, clocks, {}, None, None)[0]


def _get(
    url: str, clocks: Clocks, headers: Mapping[str, str], auth: _KeyAuth | None, profile: ProviderProfile | None
) -> tuple[Any, datetime | None]:
    clocks = clocks.model_copy(update={"first_byte": min(_FETCH_TIMEOUT_SECONDS, clocks.first_byte)})
    line = Line()
    with Watchdog(clocks, line) as watchdog:
        try:
            with _client_for(url) as client:
                request = client.build_request(
                    "GET",
                    url,
                    headers={**COMMON_HEADERS, "accept": "application/json", **headers},
                    timeout=httpx.Timeout(clocks.first_byte, connect=clocks.connect),
                    extensions={"trace": line.trace},
                )
                with closing(_send(client, request, auth)) as response:
                    if response.is_redirect or response.is_error:
                        if profile is None:
                            raise Unreachable(f"{url} answers {response.status_code}", status=response.status_code)
                        raise _refusal(response, profile)
                    reject_compression(response.headers)
                    date = _date(response)
                    body = read_body(response.iter_raw(), _LISTING.bytes)
        except _CAUGHT as error:
            raise (Unreachable(watchdog.expired) if watchdog.expired else translate(error, clocks)) from None
    if watchdog.expired:  # an answer without a length ends well wherever it is cut
        raise Unreachable(watchdog.expired)
    if len(body) > _LISTING.bytes:
        raise BadReply(f"{url} does not come to an end")
    try:
        return read_json(body, _LISTING), date
    except Unreadable:
        raise BadReply(f"{url} answers something that is no JSON") from None


def _send(client: httpx.Client, request: httpx.Request, auth: _KeyAuth | None) -> httpx.Response:
    """The response, its headers read and its body not."""
    try:
        return client.send(request, stream=True, auth=auth)
    except UnicodeError:  # the resolver's, for a label too long; httpx lets it through
        raise BadRequest(f"the base URL names a host that cannot exist: {request.url.host}") from None


def _client_for(url: str) -> httpx.Client:
    """A client for one address.

    The environment's proxy and certificate variables (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE) count, as for any
    program that the user runs: they are the user's own, because no file of a repository becomes environment here.
    httpx reads ``.netrc`` only on request. A server on this machine is never asked for through a proxy.
    """
    # Without TLS no certificate is looked at, and loading them takes 50 ms. This context trusts nobody.
    verify = True if urlsplit(url).scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.Client(
            verify=verify,
            trust_env=True,
            mounts=loopback_mounts(url),
            follow_redirects=False,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise ConfigError(
            f"the proxy or certificate settings of the environment cannot be used: {error}",
            hint="look at HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None


def _auth(profile: ProviderProfile, secret: Secret | None) -> _KeyAuth | None:
    if profile.auth == "none":
        return None
    if secret is None:
        raise Unauthorized(f"there is no key for {profile.title or profile.name}")
    return _KeyAuth(profile.auth, secret)


def _refusal(response: httpx.Response, profile: ProviderProfile) -> ProviderError:
    body = read_error_body(response.status_code, response.headers, response.iter_raw(), httpx.HTTPError)
    return refusal(response.status_code, str(response.url), response.headers, body, profile)


def _check_address(profile: ProviderProfile) -> None:
    try:
        scheme, _, host = origin(profile.base_url).partition("://")
    except ValueError:
        scheme, host = "", ""
    if scheme not in ("http", "https") or host.startswith(":"):
        raise ConfigError(
            f"base_url of [providers.{profile.name}] is {profile.base_url!r}, which is no http:// or https:// address"
        )


def _request_id(response: httpx.Response) -> str:
    headers: Mapping[str, str] = response.headers
    return headers.get("request-id") or headers.get("x-request-id", "")


def _date(response: httpx.Response) -> datetime | None:
    """The server's time of day."""
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(response.headers.get("date", "")).astimezone(UTC)
    return None

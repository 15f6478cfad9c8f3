"""The transport over httpx. It follows no redirects and retries nothing: one policy in the engine decides that."""

from __future__ import annotations

import atexit
import ssl
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from autoroute.errors import BadReply, BadRequest, ConfigError, ProviderError, Unauthorized, Unreachable
from autoroute.parsing import ParseLimits, Unreadable, read_json
from autoroute.routing import Clocks, ProviderProfile, Route, Secret, origin
from autoroute.wire.classification import annotate_error, check_error_table
from autoroute.wire.codec import Codec
from autoroute.wire.response import (
    COMMON_HEADERS,
    KEEP_ALIVE_SECONDS,
    error_from_response,
    loopback_mounts,
    read_body,
    read_error_body,
    reject_compression,
)
from autoroute.wire.sse import EventDecoder
from autoroute.wire.streaming import HttpResponse, StreamingModel
from autoroute.wire.watchdog import Connection, Watchdog

_FETCH_TIMEOUT_SECONDS = 20.0
"""How long a free GET may take, to the last byte of its response."""
_MAX_IDLE_LINES = 4
"""Of one account; the preflight asks several things at once."""
_LISTING_LIMITS = ParseLimits(bytes=16 * 1024 * 1024, names=2_000_000, lenient=True)

# Every exception that httpx can raise, by the nearest class in its tree: its class here, and what the message says.
# httpx's own text is added only after a colon, because other exceptions may quote a header, and headers hold the key.
_EXCEPTIONS: Mapping[type[Exception], tuple[type[ProviderError], str]] = MappingProxyType(
    {
        httpx.HTTPError: (Unreachable, "the request failed"),
        httpx.ConnectTimeout: (Unreachable, "could not connect within {connect:g} s"),
        httpx.TimeoutException: (Unreachable, "no response in time"),
        httpx.NetworkError: (Unreachable, "the connection broke:"),
        httpx.ConnectError: (Unreachable, "could not connect:"),
        httpx.ProxyError: (Unreachable, "the proxy from the environment refused the connection:"),
        httpx.UnsupportedProtocol: (BadRequest, "the base URL is neither http:// nor https://"),
        httpx.LocalProtocolError: (BadRequest, "the request cannot be written as HTTP"),
        httpx.RemoteProtocolError: (Unreachable, "the response was cut off or is not valid HTTP:"),
        httpx.DecodingError: (BadReply, "the response's compression is broken"),
        httpx.TooManyRedirects: (BadRequest, "the server redirects the request"),
        httpx.InvalidURL: (BadRequest, "the base URL is not a valid URL"),
        httpx.CookieConflict: (BadReply, "the response's cookies contradict each other"),
        httpx.StreamError: (BadReply, "the response ended before it was read"),
    }
)
_ROOTS = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)


def translate(error: Exception, clocks: Clocks) -> ProviderError:
    """Map an exception of httpx to ours, without a reference to the request, whose headers hold the key."""
    kind, message = next(_EXCEPTIONS[base] for base in type(error).__mro__ if base in _EXCEPTIONS)
    return kind(f"{message} {error}" if message.endswith(":") else message.format(connect=clocks.connect))


class _KeyAuth(httpx.Auth):
    """Authentication that adds the key when the request is sent, for the URL that it is sent to.

    The key is never a default header of the client, so no other request can carry it.
    """

    def __init__(self, scheme: str, secret: Secret) -> None:
        self._scheme = scheme
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        url = str(request.url)
        if not _fits_header(self._secret.reveal(url)):
            raise Unauthorized(
                f"the key in {self._secret.source} contains characters that no key has (perhaps a line break)"
            )
        if self._scheme == "x-api-key":
            request.headers["x-api-key"] = self._secret.reveal(url)
        else:
            request.headers["authorization"] = f"Bearer {self._secret.reveal(url)}"
        yield request


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value and value != ""


@dataclass(frozen=True, slots=True)
class _Line:
    """A client, and the connection that it keeps between requests, which come one after the other."""

    client: httpx.Client
    connection: Connection


class _IdleLines:
    """Lines that no one uses at the moment, by server and account, so that what comes next needs no handshake.

    Accounts do not share one, because a client keeps cookies.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, str], list[_Line]] = {}
        self._lock = threading.Lock()

    def take(self, url: str, route: Route) -> _Line:
        """Return a line to the server of ``url``, a new one if none is idle. Raises ``ConfigError``."""
        with self._lock:
            idle = self._lines.get(self._key(url, route))
            if idle:
                return idle.pop()
        return _Line(_client_for(url), Connection())

    def give_back(self, line: _Line, url: str, route: Route) -> None:
        """Keep a line whose last request went well."""
        with self._lock:
            idle = self._lines.setdefault(self._key(url, route), [])
            if len(idle) < _MAX_IDLE_LINES:
                idle.append(line)
                return
        line.client.close()

    def close(self) -> None:
        """Close all idle lines."""
        with self._lock:
            lines = [line for idle in self._lines.values() for line in idle]
            self._lines.clear()
        for line in lines:
            line.client.close()

    def _key(self, url: str, route: Route) -> tuple[str, str, str]:
        return origin(url), route.provider, route.account


_idle_lines = _IdleLines()


def close_idle_connections() -> None:
    """Close the connections that were kept for requests to come."""
    _idle_lines.close()


atexit.register(close_idle_connections)


class HttpxTransport:
    """The requests of one model of one account, one after the other; see ``Transport``."""

    def __init__(
        self, codec: Codec, profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks
    ) -> None:
        self._profile = profile
        self._route = route
        self._secret = secret
        self._clocks = clocks
        self._url = profile.base_url.rstrip("/") + codec.path
        self._headers = {
            **COMMON_HEADERS,
            "content-type": "application/json",
            "accept": "text/event-stream",
            **codec.headers,
        }
        self._line: _Line | None = None
        self._works = False

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """All that httpx raises."""
        return _ROOTS

    def send(self, body: bytes, connection: Connection) -> httpx.Response:
        """Send a request body; see ``Transport``."""
        try:
            if self._line is None:
                self._line = _idle_lines.take(self._url, self._route)
                connection.follow(self._line.connection)
            client, self._works = self._line.client, False
            request = client.build_request(
                "POST",
                self._url,
                content=body,
                headers=self._headers,
                timeout=httpx.Timeout(self._clocks.turn, connect=self._clocks.connect),
                extensions={"trace": connection.trace},
            )
            response = _send(client, request, _auth(self._profile, self._secret))
        except _ROOTS as error:
            raise translate(error, self._clocks) from None
        self._line, self._works = _Line(client, connection), True
        return response

    def event_reader(self, _headers: Mapping[str, str]) -> EventDecoder:
        """Return a reader of server-sent events."""
        return EventDecoder()

    def error_from(self, response: HttpResponse) -> ProviderError:
        """Return the error that a response means."""
        return _error_from(response, self._url, self._profile)

    def translate(self, error: Exception) -> ProviderError:
        """Map an exception of httpx to ours."""
        return translate(error, self._clocks)

    def annotate(self, error: ProviderError) -> None:
        """Add the route and a hint, and redact the key."""
        annotate_error(error, self._profile, self._route, self._secret)

    def close(self) -> None:
        """Keep the connection for what comes next; close it if the last request failed."""
        if self._line is None:
            return
        if self._works:
            _idle_lines.give_back(self._line, self._url, self._route)
        else:
            self._line.client.close()
        self._line = None


def connect(
    codec: Codec, profile: ProviderProfile, route: Route, secret: Secret | None, clocks: Clocks
) -> StreamingModel:
    """Return the model behind a codec; nothing is sent yet.

    Raises ``ConfigError`` for a profile with an unusable base URL or error table.
    """
    _check_base_url(profile)
    check_error_table(profile)
    return StreamingModel(codec, HttpxTransport(codec, profile, route, secret, clocks), clocks)


def fetch_json(
    profile: ProviderProfile, path: str, route: Route, secret: Secret | None, clocks: Clocks
) -> tuple[Any, datetime | None]:
    """Return the JSON and the ``Date`` of a free GET with the account's key; ``path`` is relative to the base URL.

    Raises a ``ProviderError``, ``BadReply`` for a response that is not JSON.
    """
    _check_base_url(profile)
    try:
        url = urljoin(profile.base_url.rstrip("/") + "/", path)
        headers = {"anthropic-version": profile.version} if profile.version else {}
        with _line_to(url, route) as line:
            return _get(url, clocks, headers, _auth(profile, secret), profile, line)
    except ProviderError as error:
        annotate_error(error, profile, route, secret)
        raise


def download_json(url: str, clocks: Clocks) -> Any:
    """Return the JSON at a public address. Raises a ``ProviderError``."""
    with _client_for(url) as client:
        return _get(url, clocks, {}, None, None, _Line(client, Connection()))[0]


@contextmanager
def _line_to(url: str, route: Route) -> Iterator[_Line]:
    """Lend a line for one request; it is closed if the request fails."""
    line = _idle_lines.take(url, route)
    try:
        yield line
    except BaseException:
        line.client.close()
        raise
    _idle_lines.give_back(line, url, route)


def _get(
    url: str,
    clocks: Clocks,
    headers: Mapping[str, str],
    auth: _KeyAuth | None,
    profile: ProviderProfile | None,
    line: _Line,
) -> tuple[Any, datetime | None]:
    clocks = clocks.model_copy(update={"first_byte": min(_FETCH_TIMEOUT_SECONDS, clocks.first_byte)})
    with Watchdog(clocks, line.connection) as watchdog:
        try:
            request = line.client.build_request(
                "GET",
                url,
                headers={**COMMON_HEADERS, "accept": "application/json", **headers},
                timeout=httpx.Timeout(clocks.first_byte, connect=clocks.connect),
                extensions={"trace": line.connection.trace},
            )
            with closing(_send(line.client, request, auth)) as response:
                if response.is_redirect or response.is_error:
                    if profile is None:
                        raise Unreachable(f"{url} returned HTTP {response.status_code}", status=response.status_code)
                    raise _error_from(response, str(response.url), profile)
                reject_compression(response.headers)
                date = _server_date(response.headers)
                body = read_body(response.iter_raw(), _LISTING_LIMITS.bytes)
        except _ROOTS as error:
            reason = watchdog.cut_reason
            raise (Unreachable(reason) if reason else translate(error, clocks)) from None
    if watchdog.cut_reason:  # a response without a length looks complete wherever it is cut
        raise Unreachable(watchdog.cut_reason)
    if len(body) > _LISTING_LIMITS.bytes:
        raise BadReply(f"the response from {url} is longer than {_LISTING_LIMITS.bytes >> 20} MiB")
    try:
        return read_json(body, _LISTING_LIMITS), date
    except Unreadable:
        raise BadReply(f"invalid JSON in the response from {url}") from None


def _send(client: httpx.Client, request: httpx.Request, auth: _KeyAuth | None) -> httpx.Response:
    """Return the response, its headers read and its body not."""
    try:
        return client.send(request, stream=True, auth=auth)
    except UnicodeError:  # raised by the resolver for a label of more than 63 characters; httpx lets it through
        raise BadRequest(f"the base URL contains an invalid host name: {request.url.host}") from None


def _client_for(url: str) -> httpx.Client:
    """Return a client for one address. Raises ``ConfigError`` when the environment's settings are unusable.

    The environment's proxy and certificate variables (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE) apply, as for any
    program that the user runs. They are the user's own: no file of a repository becomes environment here.
    httpx reads ``.netrc`` only on request. Requests to this machine never go through a proxy.
    """
    try:
        return httpx.Client(
            # Over plain HTTP no certificate is checked. That context trusts no one.
            verify=_load_certificates() if urlsplit(url).scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=True,
            mounts=loopback_mounts(url),
            # httpx strips only Authorization from a redirect to another origin: x-api-key would leak.
            follow_redirects=False,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise ConfigError(
            f"the proxy or certificate settings of the environment cannot be used: {error}",
            hint="check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None


def _load_certificates() -> ssl.SSLContext:
    """Return the context that checks certificates, one for all clients: to load them takes 25 to 50 ms."""
    return _load_certificates_of(ssl.get_default_verify_paths())


@cache
def _load_certificates_of(_paths: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """Load them from the paths of the environment and the system; httpx finds those itself."""
    return httpx.create_ssl_context()


def _auth(profile: ProviderProfile, secret: Secret | None) -> _KeyAuth | None:
    if profile.auth == "none":
        return None
    if secret is None:
        raise Unauthorized(
            f"no key for {profile.title or profile.name}", hint=f"store one: autoroute login {profile.name}"
        )
    return _KeyAuth(profile.auth, secret)


def _error_from(response: HttpResponse, url: str, profile: ProviderProfile) -> ProviderError:
    body = read_error_body(response.status_code, response.headers, response.iter_raw(), httpx.HTTPError)
    return error_from_response(response.status_code, url, response.headers, body, profile)


def _check_base_url(profile: ProviderProfile) -> None:
    try:
        scheme, _, host = origin(profile.base_url).partition("://")
    except ValueError:
        scheme, host = "", ""
    if scheme not in ("http", "https") or host.startswith(":"):
        raise ConfigError(
            f"base_url in [providers.{profile.name}] is not an http:// or https:// address: {profile.base_url!r}",
            hint=f'for example: base_url = "https://api.example.com" in [providers.{profile.name}]',
        )


def _server_date(headers: Mapping[str, str]) -> datetime | None:
    """Return the server's time of day, None when it sent none."""
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    return None

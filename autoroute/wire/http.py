"""The transport over httpx. It follows no redirects and retries nothing: one policy in the engine decides that."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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


class HttpxTransport:
    """One httpx client for one model of one account; see ``Transport``."""

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
        self._client: httpx.Client | None = None

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """All that httpx raises."""
        return _ROOTS

    def send(self, body: bytes, connection: Connection) -> httpx.Response:
        """Send a request body; see ``Transport``."""
        try:
            if self._client is None:
                self._client = _client_for(self._url)
            request = self._client.build_request(
                "POST",
                self._url,
                content=body,
                headers=self._headers,
                timeout=httpx.Timeout(self._clocks.turn, connect=self._clocks.connect),
                extensions={"trace": connection.trace},
            )
            return _send(self._client, request, _auth(self._profile, self._secret))
        except _ROOTS as error:
            raise translate(error, self._clocks) from None

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
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None


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
        return _get(url, clocks, headers, _auth(profile, secret), profile)
    except ProviderError as error:
        annotate_error(error, profile, route, secret)
        raise


def download_json(url: str, clocks: Clocks) -> Any:
    """Return the JSON at a public address. Raises a ``ProviderError``."""
    return _get(url, clocks, {}, None, None)[0]


def _get(
    url: str, clocks: Clocks, headers: Mapping[str, str], auth: _KeyAuth | None, profile: ProviderProfile | None
) -> tuple[Any, datetime | None]:
    clocks = clocks.model_copy(update={"first_byte": min(_FETCH_TIMEOUT_SECONDS, clocks.first_byte)})
    connection = Connection()
    with Watchdog(clocks, connection) as watchdog:
        try:
            with _client_for(url) as client:
                request = client.build_request(
                    "GET",
                    url,
                    headers={**COMMON_HEADERS, "accept": "application/json", **headers},
                    timeout=httpx.Timeout(clocks.first_byte, connect=clocks.connect),
                    extensions={"trace": connection.trace},
                )
                with closing(_send(client, request, auth)) as response:
                    if response.is_redirect or response.is_error:
                        if profile is None:
                            raise Unreachable(
                                f"{url} returned HTTP {response.status_code}", status=response.status_code
                            )
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
    # Over plain HTTP no certificate is checked, and loading them takes 50 ms. This context trusts no one.
    verify = True if urlsplit(url).scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.Client(
            verify=verify,
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

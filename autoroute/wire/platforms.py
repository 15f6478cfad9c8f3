"""Claude on Bedrock, Vertex and Foundry, and on Anthropic's own credential chain, through the anthropic SDK's clients.

The SDK signs, fetches tokens and rewrites addresses. What is asked, and how the answer is read, is
``anthropic_messages``, as over plain HTTP. The SDK, boto3 and google-auth look for credentials, region and project
where their documents say, in the environment and in the home directory: who chooses a platform asks for just that.
This module itself reads no variable.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

from autoroute.errors import (
    AutorouteError,
    BadReply,
    BadRequest,
    ConfigError,
    ProviderError,
    Unauthorized,
    Unreachable,
)
from autoroute.messages import Allowance, Delta, Reply, Request
from autoroute.parsing import RESPONSE_LIMITS, read_json
from autoroute.redaction import Redactor
from autoroute.routing import Clocks, ProviderProfile, Route
from autoroute.wire.anthropic_messages import Codec
from autoroute.wire.classification import CLASS_BY_STATUS, annotate_error, check_error_table
from autoroute.wire.payload import as_object, as_text, dump_json
from autoroute.wire.reset_times import read_allowances
from autoroute.wire.response import (
    COMMON_HEADERS,
    KEEP_ALIVE_SECONDS,
    is_stream,
    loopback_mounts,
    read_error_body,
    read_stream,
    refusal,
    reject_compression,
)
from autoroute.wire.sse import Event, EventDecoder, StreamLimits
from autoroute.wire.watchdog import Line, Watchdog

if TYPE_CHECKING:
    import httpx2
    from anthropic import Anthropic, AnthropicBedrock, AnthropicFoundry, AnthropicVertex

    Client = Anthropic | AnthropicBedrock | AnthropicFoundry | AnthropicVertex

_STREAM_LIMITS = StreamLimits()

_REQUEST_IDS = ("request-id", "x-request-id", "x-amzn-requestid", "apim-request-id")
_KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-amz-security-token")


@dataclass(frozen=True, slots=True)
class _Platform:
    """How a platform's client is made, and what mends it when it cannot be."""

    client: str
    """Its name in ``anthropic``."""
    arguments: Mapping[str, str]
    """Field of a profile -> argument of the client."""
    version: Literal["header", "body"]
    """Where the API's version goes; in the body, the SDK writes its own unless the profile names one."""
    extra: str
    packages: tuple[str, ...]
    credentials: str
    settings: str


_PLATFORMS: Mapping[str, _Platform] = MappingProxyType(
    {
        "bedrock": _Platform(
            client="AnthropicBedrock",
            arguments={"region": "aws_region"},
            version="body",
            extra="bedrock",
            packages=("anthropic", "boto3", "botocore"),
            credentials="log in (`aws sso login`), or set AWS_PROFILE, AWS_BEARER_TOKEN_BEDROCK, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            settings="set region in [providers.{name}], or AWS_REGION",
        ),
        "vertex": _Platform(
            client="AnthropicVertex",
            arguments={"region": "region", "project": "project_id"},
            version="body",
            extra="vertex",
            packages=("anthropic", "google.auth", "requests"),
            credentials="log in (`gcloud auth application-default login`), or set GOOGLE_APPLICATION_CREDENTIALS",
            settings="set region and project in [providers.{name}], or CLOUD_ML_REGION and ANTHROPIC_VERTEX_PROJECT_ID",
        ),
        "foundry": _Platform(
            client="AnthropicFoundry",
            arguments={"resource": "resource"},
            version="header",
            extra="claude-sdk",
            packages=("anthropic",),
            credentials="set ANTHROPIC_FOUNDRY_API_KEY",
            settings="set resource in [providers.{name}], or ANTHROPIC_FOUNDRY_RESOURCE",
        ),
        "anthropic-sdk": _Platform(
            client="Anthropic",
            arguments={"resource": "profile"},
            version="header",
            extra="claude-sdk",
            packages=("anthropic",),
            credentials="log in (`ant auth login`) and name the profile in ANTHROPIC_PROFILE; or set "
            "ANTHROPIC_FEDERATION_RULE_ID, ANTHROPIC_ORGANIZATION_ID and ANTHROPIC_IDENTITY_TOKEN_FILE",
            settings="name the Console profile as resource in [providers.{name}], or in ANTHROPIC_PROFILE",
        ),
    }
)

# Every exception that the clients, and what they use, raise before an answer is there, by the nearest class in its
# tree. By name, because the packages are optional and heavy. The exception's own words follow after a colon only,
# because others may hold a header. A status with a body is read by failures.py instead.
_EXCEPTIONS: Mapping[str, tuple[type[AutorouteError], str]] = MappingProxyType(
    {
        "httpx2.HTTPError": (Unreachable, "the request failed"),
        "httpx2.ConnectTimeout": (Unreachable, "no connection within {connect:g} s"),
        "httpx2.TimeoutException": (Unreachable, "no answer in time"),
        "httpx2.NetworkError": (Unreachable, "the connection broke:"),
        "httpx2.ConnectError": (Unreachable, "no connection:"),
        "httpx2.ProxyError": (Unreachable, "the proxy of the environment refused:"),
        "httpx2.UnsupportedProtocol": (BadRequest, "the base URL is neither http:// nor https://"),
        "httpx2.LocalProtocolError": (Unauthorized, "the credentials hold characters that no key has (a line break?)"),
        "httpx2.RemoteProtocolError": (Unreachable, "the answer was cut off or is no HTTP:"),
        "httpx2.DecodingError": (BadReply, "the answer's compression is broken"),
        "httpx2.InvalidURL": (ConfigError, "the address is no URL"),
        "httpx2.StreamError": (BadReply, "the answer ended before it was read"),
        "anthropic.APIConnectionError": (Unreachable, "no connection"),
        "anthropic.AnthropicError": (Unauthorized, "the SDK found no usable credentials:"),
        "anthropic.lib._extras._common.MissingDependencyError": (ConfigError, "the SDK needs one more package"),
        "botocore.exceptions.BotoCoreError": (Unauthorized, "AWS gave no credentials:"),
        "botocore.exceptions.ClientError": (Unauthorized, "AWS gave no credentials:"),
        "botocore.exceptions.HTTPClientError": (Unreachable, "AWS could not be asked for credentials:"),
        "botocore.exceptions.ConnectionError": (Unreachable, "AWS could not be asked for credentials:"),
        "google.auth.exceptions.GoogleAuthError": (Unauthorized, "Google gave no credentials:"),
        "google.auth.exceptions.TransportError": (Unreachable, "Google could not be asked for credentials:"),
        "builtins.ImportError": (ConfigError, "the SDK needs one more package:"),
        "builtins.UnicodeError": (Unauthorized, "the credentials or the address hold characters that neither may have"),
        "builtins.OSError": (Unauthorized, "the credentials cannot be read:"),
        "builtins.ValueError": (ConfigError, "the SDK cannot use the settings:"),  # a region or resource is missing
        "builtins.RuntimeError": (Unauthorized, "the SDK found no usable credentials:"),
    }
)


class PlatformModel:
    """A model behind one of the SDK's clients, which is made when first asked.

    ``redactor`` learns the keys that are found. The clocks are those of plain HTTP. Fetching credentials counts as
    waiting for the first byte; how long a single look-up of theirs can block is up to the credential libraries.
    """

    def __init__(self, profile: ProviderProfile, route: Route, clocks: Clocks, redactor: Redactor) -> None:
        check_error_table(profile)
        self._platform = _PLATFORMS[profile.platform]
        self._codec = Codec(profile)
        self._profile = profile
        self._route = route
        self._clocks = clocks
        self._redactor = redactor
        self._client: Client | None = None
        self._line = Line()

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn; see ``Model``."""
        import httpx2

        decoder = self._codec.decoder(request)
        request_id = ""
        left: tuple[Allowance, ...] = ()
        try:
            with Watchdog(self._clocks, self._line) as watchdog:
                try:
                    with closing(self._send(request, watchdog)) as response:
                        request_id = _request_id(response)
                        if not is_stream(response.status_code, response.headers):
                            raise self._failure(response)
                        reject_compression(response.headers)
                        left = read_allowances(response.headers, datetime.now(UTC))
                        framed = "eventstream" in response.headers.get("content-type", "")
                        events = _Frames() if framed else EventDecoder()
                        yield from read_stream(response.iter_raw(), events, decoder, watchdog, self._clocks.idle)
                except (httpx2.HTTPError, httpx2.StreamError) as error:
                    if not decoder.complete and not watchdog.expired:
                        raise (self._translate(error) or error) from None
            if not decoder.complete:
                raise Unreachable(watchdog.expired or "the answer was cut off before its end")
            reply = replace(decoder.reply(request_id), allowances=left)
        except ProviderError as error:
            error.request_id = error.request_id or request_id
            self._blame(error)
            raise
        yield reply

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send(self, request: Request, watchdog: Watchdog) -> httpx2.Response:
        """The response, its headers read and its body not."""
        import anthropic
        import httpx2

        headers = dict(COMMON_HEADERS)
        body = json.loads(self._codec.encode(request))
        if self._platform.version == "header":
            headers |= self._codec.headers
        elif self._profile.version:
            body["anthropic_version"] = self._profile.version
        try:
            answer = self._open().post(
                self._codec.path,
                cast_to=httpx2.Response,
                body=body,
                options={"headers": headers},
                stream=True,
                stream_cls=anthropic.Stream[object],
            )
        except Exception as error:
            known = self._translate(error)
            if known is None:
                raise
            cut = watchdog.expired and not isinstance(error, anthropic.APIStatusError)
            raise (Unreachable(watchdog.expired) if cut else known) from None
        return cast("httpx2.Response", answer)  # asked for a response, a client gives it as it is

    def _open(self) -> Client:
        """The client, made when first needed."""
        if self._client is None:
            import anthropic
            import httpx2

            profile = self._profile
            arguments = {
                argument: value
                for field, argument in self._platform.arguments.items()
                if (value := getattr(profile, field))
            }
            if profile.base_url and "{" not in profile.base_url:
                arguments["base_url"] = profile.base_url
            connection = anthropic.DefaultHttpxClient(
                # As over plain HTTP: nothing, above all no key, is sent to where a redirect leads.
                follow_redirects=False,
                limits=httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
                event_hooks={"request": [self._observe], "response": [_curb]},
                mounts=loopback_mounts(profile.base_url),
            )
            try:
                client: Client = getattr(anthropic, self._platform.client)(
                    **arguments,
                    http_client=connection,
                    timeout=httpx2.Timeout(self._clocks.turn, connect=self._clocks.connect),
                    max_retries=0,
                    open_telemetry=False,
                )
                self._check(client)
            except BaseException:
                connection.close()
                raise
            self._client = client
        return self._client

    def _check(self, client: Client) -> None:
        """Raise for a client that would be refused, or would not ask with the credentials that the profile means."""
        if self._profile.platform == "vertex" and not getattr(client, "project_id", None):
            raise ConfigError("no Google Cloud project is named", hint=self._hint(self._platform.settings))
        if self._profile.platform == "anthropic-sdk":
            key = getattr(client, "api_key", None)
            if key is not None or getattr(client, "auth_token", None) is not None:
                name = "ANTHROPIC_API_KEY" if key is not None else "ANTHROPIC_AUTH_TOKEN"
                raise ConfigError(
                    f"{name} is set and would win over the profile or workload identity that this provider stands for",
                    hint=f"unset {name}, or {self._hint(self._platform.settings.partition(',')[0])}",
                )
            if getattr(client, "credentials", None) is None:
                raise Unauthorized("there is neither a Console profile nor a workload identity")

    def _observe(self, request: httpx2.Request) -> None:
        """Have what a request carries as keys hidden from now on, and learn of its connection."""
        self._redactor.learn(request.headers.get(name, "").removeprefix("Bearer ") for name in _KEY_HEADERS)
        request.extensions = {**request.extensions, "trace": self._line.trace}

    def _translate(self, error: Exception) -> AutorouteError | None:
        """Our error for one of the SDK's; None for one that is ours already, or that the SDK is not known to raise."""
        import anthropic

        if isinstance(error, anthropic.APIStatusError):
            return self._failure(error.response)
        if isinstance(error, anthropic.AnthropicError) and isinstance(error.__cause__, Exception):
            # The SDK wraps; what it wrapped says more, if it was the network.
            found = _row(error.__cause__)
            if found is not None and (found[0] is Unreachable or isinstance(error, anthropic.APIConnectionError)):
                return self._made(*found, error.__cause__)
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and (status in (408, 429) or status >= 500):
            # A token endpoint that has no time; its words are the SDK's, which keeps keys out of them.
            return CLASS_BY_STATUS.get(status, Unreachable)(_one_line(error), status=status)
        found = _row(error)
        return self._made(*found, error) if found is not None else None

    def _made(self, kind: type[AutorouteError], words: str, error: Exception) -> AutorouteError:
        message = f"{words} {_one_line(error)}" if words.endswith(":") else words.format(connect=self._clocks.connect)
        if issubclass(kind, ConfigError):
            missing = words.startswith("the SDK needs")
            return kind(message, hint=_install(self._platform) if missing else self._hint(self._platform.settings))
        return kind(message)

    def _failure(self, response: httpx2.Response) -> ProviderError:
        """The error that an answer stands for."""
        body = _with_code(response.headers.get("x-amzn-errortype", ""), response.read())
        error = refusal(response.status_code, str(response.url), response.headers, body, self._profile)
        error.request_id = error.request_id or _request_id(response)
        return error

    def _blame(self, error: ProviderError) -> None:
        """Say in the error whom it concerns and what mends it, and make sure that nothing in it holds a key."""
        if isinstance(error, Unauthorized) and not error.hint and error.code not in self._profile.hints:
            error.hint = self._hint(self._platform.credentials)
        annotate_error(error, self._profile, self._route, None, self._redactor)

    def _hint(self, words: str) -> str:
        return words.format(name=self._profile.name)


class _Frames:
    """Turns the frames of AWS (``application/vnd.amazon.eventstream``), however they were split, into events.

    botocore checks lengths and checksums. A frame's payload holds one event of the stream in base64.
    """

    def __init__(self, limits: StreamLimits = _STREAM_LIMITS) -> None:
        self._aws: Any = import_module("botocore.eventstream")
        self._buffer = self._aws.EventStreamBuffer()
        self._limits = limits
        self._total = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes. Raises ``BadReply`` beyond the bounds and for broken frames."""
        self._total += len(chunk)
        if self._total > self._limits.total_bytes:
            raise BadReply(f"the answer has a stream of more than {self._limits.total_bytes} bytes")
        try:
            self._buffer.add_data(chunk)
            return [_event(frame.headers, frame.payload) for frame in self._buffer]
        except self._aws.ParserError as error:
            raise BadReply(f"a frame of the stream is broken: {error}") from None
        except ValueError:  # no JSON, no base64, no UTF-8
            raise BadReply("a frame of the stream holds no event") from None


def _event(headers: Mapping[str, object], payload: bytes) -> Event:
    data = as_object(read_json(payload, RESPONSE_LIMITS)) if payload else {}
    if headers.get(":message-type") == "event":
        return Event("", b64decode(as_text(data.get("bytes"))).decode() or "{}")  # without bytes: an unknown event
    code = as_text(headers.get(":exception-type")) or as_text(headers.get(":error-code"))
    message = as_text(data.get("message")) or as_text(headers.get(":error-message"))
    return Event("error", dump_json({"type": "error", "error": {"type": code, "message": message}}).decode())


def _row(error: BaseException) -> tuple[type[AutorouteError], str] | None:
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__)
    return next((_EXCEPTIONS[name] for name in names if name in _EXCEPTIONS), None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _install(platform: _Platform) -> str:
    return f"pip install 'autoroute[{platform.extra}]'"


def _request_id(response: httpx2.Response) -> str:
    return next((value for name in _REQUEST_IDS if (value := response.headers.get(name, ""))), "")


def _with_code(kind: str, body: bytes) -> bytes:
    """An error's body with the code that AWS says in a header (``ThrottlingException:http://...``) only."""
    code = kind.partition(":")[0]
    try:
        message = as_object(read_json(body, RESPONSE_LIMITS)).get("message") if code else None
    except ValueError:
        message = None
    return dump_json({"error": {"type": code, "message": message}}) if isinstance(message, str) else body


def _curb(response: httpx2.Response) -> None:
    """Leave, of an answer that is no stream, what is looked at: the SDK would read it to its end, and unpack it."""
    import httpx2

    if not is_stream(response.status_code, response.headers):
        with closing(cast("httpx2.SyncByteStream", response.stream)) as stream:
            body = read_error_body(response.status_code, response.headers, stream, httpx2.HTTPError)
        response.headers.pop("content-encoding", None)
        response.stream = httpx2.ByteStream(body)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it is part of
        return False


def connect(profile: ProviderProfile, route: Route, clocks: Clocks, redactor: Redactor) -> PlatformModel:
    """A model on this wire at the profile's platform; ``ConfigError`` when a package that it needs is not there."""
    platform = _PLATFORMS[profile.platform]
    missing = [package for package in platform.packages if not _installed(package)]
    if missing:
        raise ConfigError(
            f"[providers.{profile.name}] needs packages that are not installed: {', '.join(missing)}",
            hint=_install(platform),
        )
    return PlatformModel(profile, route, clocks, redactor)

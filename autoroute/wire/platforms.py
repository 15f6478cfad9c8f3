"""The transport over the anthropic SDK's clients, for Claude on Bedrock, Vertex, Foundry and Console credentials.

The SDK signs requests, fetches tokens and rewrites addresses. Requests and responses are those of
``anthropic_messages``, as over plain HTTP. The SDK, boto3 and google-auth look for credentials, region and project
where their documentation says, in the environment and in the home directory: choosing a platform asks for just that.
This module reads no environment variable.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from autoroute.errors import (
    AutorouteError,
    BadReply,
    BadRequest,
    ConfigError,
    ProviderError,
    Unauthorized,
    Unreachable,
)
from autoroute.parsing import RESPONSE_LIMITS, read_json
from autoroute.redaction import Redactor
from autoroute.routing import Clocks, ProviderProfile, Route
from autoroute.wire.anthropic_messages import MessagesCodec
from autoroute.wire.classification import CLASS_BY_STATUS, annotate_error, check_error_table
from autoroute.wire.payload import as_object, as_text, dump_json
from autoroute.wire.response import (
    COMMON_HEADERS,
    KEEP_ALIVE_SECONDS,
    error_from_response,
    is_stream,
    loopback_mounts,
    read_error_body,
)
from autoroute.wire.sse import Event, EventDecoder, StreamLimits
from autoroute.wire.streaming import EventReader, HttpResponse, StreamingModel
from autoroute.wire.watchdog import Connection

if TYPE_CHECKING:
    import httpx2
    from anthropic import Anthropic, AnthropicBedrock, AnthropicFoundry, AnthropicVertex

    Client = Anthropic | AnthropicBedrock | AnthropicFoundry | AnthropicVertex

_STREAM_LIMITS = StreamLimits()
_KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-amz-security-token")
_BODY_VERSION = "2026-10-21"
"""``anthropic_version`` of a platform that has it in the body; the SDK's own since 2.0 (its MIGRATION.md)."""


@dataclass(frozen=True, slots=True)
class _Platform:
    """How a platform's client is made, and the hints for when it cannot be."""

    client: str
    """The name of its class in ``anthropic``."""
    arguments: Mapping[str, str]
    """Field of a profile -> argument of the client."""
    packages: tuple[str, ...]
    install: str
    credentials_hint: str
    settings_hint: str
    url_fields: tuple[str, ...] = ()
    """Fields of a request that the SDK moves from the body into the URL; such a body also has the API's version."""


_PLATFORMS: Mapping[str, _Platform] = MappingProxyType(
    {
        "bedrock": _Platform(
            client="AnthropicBedrock",
            arguments={"region": "aws_region"},
            packages=("anthropic", "boto3", "botocore"),
            install="pip install 'autoroute[bedrock]'",
            credentials_hint="log in (`aws sso login`), or set AWS_PROFILE, AWS_BEARER_TOKEN_BEDROCK, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            settings_hint="set region in [providers.{name}], or AWS_REGION",
            url_fields=("model", "stream"),
        ),
        "vertex": _Platform(
            client="AnthropicVertex",
            arguments={"region": "region", "project": "project_id"},
            packages=("anthropic", "google.auth", "requests"),
            install="pip install 'autoroute[vertex]'",
            credentials_hint="log in (`gcloud auth application-default login`), or set GOOGLE_APPLICATION_CREDENTIALS",
            settings_hint="set region and project in [providers.{name}], "
            "or CLOUD_ML_REGION and ANTHROPIC_VERTEX_PROJECT_ID",
            url_fields=("model",),
        ),
        "foundry": _Platform(
            client="AnthropicFoundry",
            arguments={"resource": "resource"},
            packages=("anthropic",),
            install="pip install 'anthropic>=2.12,<3'",
            credentials_hint="set ANTHROPIC_FOUNDRY_API_KEY",
            settings_hint="set resource in [providers.{name}], or ANTHROPIC_FOUNDRY_RESOURCE",
        ),
        "anthropic-sdk": _Platform(
            client="Anthropic",
            arguments={"resource": "profile"},
            packages=("anthropic",),
            install="pip install 'anthropic>=2.12,<3'",
            credentials_hint="log in (`ant auth login`) and set ANTHROPIC_PROFILE to the profile; or set "
            "ANTHROPIC_FEDERATION_RULE_ID, ANTHROPIC_ORGANIZATION_ID and ANTHROPIC_IDENTITY_TOKEN_FILE",
            settings_hint="set resource in [providers.{name}] to the Console profile, or set ANTHROPIC_PROFILE",
        ),
    }
)

# Every exception that the clients, and what they use, raise before a response is there, by the nearest class in its
# tree. By name, because the packages are heavy and some optional. The exception's own text is added only after a
# colon, because others may quote a header. A status with a body is read by classification.py instead.
_EXCEPTIONS: Mapping[str, tuple[type[AutorouteError], str]] = MappingProxyType(
    {
        "httpx2.HTTPError": (Unreachable, "the request failed"),
        "httpx2.ConnectTimeout": (Unreachable, "could not connect within {connect:g} s"),
        "httpx2.TimeoutException": (Unreachable, "no response in time"),
        "httpx2.NetworkError": (Unreachable, "the connection broke:"),
        "httpx2.ConnectError": (Unreachable, "could not connect:"),
        "httpx2.ProxyError": (Unreachable, "the proxy from the environment refused the connection:"),
        "httpx2.UnsupportedProtocol": (BadRequest, "the base URL is neither http:// nor https://"),
        "httpx2.LocalProtocolError": (
            Unauthorized,
            "the credentials contain characters that no key has (perhaps a line break)",
        ),
        "httpx2.RemoteProtocolError": (Unreachable, "the response was cut off or is not valid HTTP:"),
        "httpx2.DecodingError": (BadReply, "the response's compression is broken"),
        "httpx2.InvalidURL": (ConfigError, "the address is not a valid URL"),
        "httpx2.StreamError": (BadReply, "the response ended before it was read"),
        "anthropic.APIConnectionError": (Unreachable, "could not connect"),
        "anthropic.AnthropicError": (Unauthorized, "the SDK found no usable credentials:"),
        "anthropic.lib._extras._common.MissingDependencyError": (ConfigError, "the SDK needs one more package"),
        "botocore.exceptions.BotoCoreError": (Unauthorized, "AWS gave no credentials:"),
        "botocore.exceptions.ClientError": (Unauthorized, "AWS gave no credentials:"),
        "botocore.exceptions.HTTPClientError": (Unreachable, "AWS could not be asked for credentials:"),
        "botocore.exceptions.ConnectionError": (Unreachable, "AWS could not be asked for credentials:"),
        "google.auth.exceptions.GoogleAuthError": (Unauthorized, "Google gave no credentials:"),
        "google.auth.exceptions.TransportError": (Unreachable, "Google could not be asked for credentials:"),
        "builtins.ImportError": (ConfigError, "the SDK needs one more package:"),
        "builtins.UnicodeError": (Unauthorized, "the credentials or the address contain characters that are not valid"),
        "builtins.OSError": (Unauthorized, "the credentials cannot be read:"),
        "builtins.ValueError": (ConfigError, "the SDK cannot use the settings:"),  # a region or resource is missing
        "builtins.RuntimeError": (Unauthorized, "the SDK found no usable credentials:"),
    }
)


class SdkTransport:
    """One client of the SDK for one model of one account; see ``Transport``. It is made by the first request.

    ``redactor`` learns the keys that the SDK finds. Fetching credentials counts as waiting for the first byte; how
    long one lookup can block is up to the credential libraries.
    """

    def __init__(
        self, codec: MessagesCodec, profile: ProviderProfile, route: Route, clocks: Clocks, redactor: Redactor
    ) -> None:
        self._platform = _PLATFORMS[profile.platform]
        self._codec = codec
        self._profile = profile
        self._route = route
        self._clocks = clocks
        self._redactor = redactor
        self._client: Client | None = None
        self._connection = Connection()

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """What the SDK's HTTP client raises while a response is read."""
        import httpx2

        return httpx2.HTTPError, httpx2.StreamError

    def send(self, body: bytes, connection: Connection) -> httpx2.Response:
        """Send a request body; see ``Transport``."""
        self._connection = connection
        try:
            return self._post(body)
        except Exception as error:
            known = self.translate(error)
            if known is error:
                raise
            raise known from None

    def event_reader(self, headers: Mapping[str, str]) -> EventReader:
        """Return a reader of server-sent events, or of AWS frames."""
        return _AwsFrameDecoder() if "eventstream" in headers.get("content-type", "") else EventDecoder()

    def error_from(self, response: HttpResponse) -> ProviderError:
        """Return the error that a response means."""
        answered = cast("httpx2.Response", response)
        body = _add_aws_code(answered.headers.get("x-amzn-errortype", ""), answered.read())
        return error_from_response(answered.status_code, str(answered.url), answered.headers, body, self._profile)

    def translate(self, error: Exception) -> Exception:
        """Map an exception of the SDK to ours; return one that is ours already, or unknown, as it is."""
        import anthropic

        if isinstance(error, anthropic.APIStatusError):
            return self.error_from(error.response)
        if isinstance(error, anthropic.AnthropicError) and isinstance(error.__cause__, Exception):
            # The SDK wraps exceptions. The wrapped one says more if the network was the cause.
            row = _find_row(error.__cause__)
            if row is not None and (row[0] is Unreachable or isinstance(error, anthropic.APIConnectionError)):
                return self._make_error(*row, error.__cause__)
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and (status in (408, 429) or status >= 500):
            # A token endpoint that is busy or down. The text is the SDK's, which keeps keys out of it.
            return CLASS_BY_STATUS.get(status, Unreachable)(_one_line(error), status=status)
        row = _find_row(error)
        return self._make_error(*row, error) if row is not None else error

    def annotate(self, error: ProviderError) -> None:
        """Add the route and a hint, and redact the keys."""
        if isinstance(error, Unauthorized) and not error.hint and error.code not in self._profile.hints:
            error.hint = self._fill(self._platform.credentials_hint)
        annotate_error(error, self._profile, self._route, None, self._redactor)

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def open_client(self) -> Client:
        """Return the client, made when first needed: that imports the SDK and reads the credentials' settings."""
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
            http_client = anthropic.DefaultHttpxClient(
                # As over plain HTTP: nothing, above all no key, is sent to where a redirect leads.
                follow_redirects=False,
                limits=httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
                event_hooks={"request": [self._observe], "response": [_limit_error_body]},
                mounts=loopback_mounts(profile.base_url),
            )
            try:
                client: Client = getattr(anthropic, self._platform.client)(
                    **arguments,
                    http_client=http_client,
                    timeout=httpx2.Timeout(self._clocks.turn, connect=self._clocks.connect),
                    # The SDK would retry a quota that is spent; the engine has the one policy for retries.
                    max_retries=0,
                    open_telemetry=False,
                )
                self._check(client)
            except BaseException:
                http_client.close()
                raise
            self._client = client
        return self._client

    def _post(self, body: bytes) -> httpx2.Response:
        import anthropic
        import httpx2

        client = self.open_client()
        headers = {**COMMON_HEADERS}
        content: dict[str, Any]
        if self._platform.url_fields:
            # The SDK takes these fields out again and encodes the rest to the same bytes as the codec did.
            content = {"body": {**json.loads(body), "model": self._route.model, "stream": True}}
        else:
            headers |= self._codec.headers
            content = {"content": body}
        response = client.post(
            self._codec.path,
            cast_to=httpx2.Response,
            **content,
            options={"headers": headers},
            stream=True,
            stream_cls=anthropic.Stream[object],
        )
        return cast("httpx2.Response", response)  # asked for a response, a client returns it as it is

    def _check(self, client: Client) -> None:
        """Raise for a client that would be refused, or would not use the credentials that the profile means."""
        if self._profile.platform == "vertex" and not getattr(client, "project_id", None):
            raise ConfigError("no Google Cloud project is configured", hint=self._fill(self._platform.settings_hint))
        if self._profile.platform == "anthropic-sdk":
            key = getattr(client, "api_key", None)
            if key is not None or getattr(client, "auth_token", None) is not None:
                name = "ANTHROPIC_API_KEY" if key is not None else "ANTHROPIC_AUTH_TOKEN"
                raise ConfigError(
                    f"{name} is set and would be used instead of the Console profile or workload identity",
                    hint=f"unset {name}, or {self._fill(self._platform.settings_hint.partition(',')[0])}",
                )
            if getattr(client, "credentials", None) is None:
                raise Unauthorized("neither a Console profile nor a workload identity was found")

    def _observe(self, request: httpx2.Request) -> None:
        """Teach the redactor the keys in a request, and trace its connection."""
        self._redactor.learn(request.headers.get(name, "").removeprefix("Bearer ") for name in _KEY_HEADERS)
        request.extensions = {**request.extensions, "trace": self._connection.trace}

    def _make_error(self, kind: type[AutorouteError], message: str, error: Exception) -> AutorouteError:
        text = (
            f"{message} {_one_line(error)}" if message.endswith(":") else message.format(connect=self._clocks.connect)
        )
        if issubclass(kind, ConfigError):
            is_missing = message.startswith("the SDK needs")
            return kind(text, hint=self._platform.install if is_missing else self._fill(self._platform.settings_hint))
        return kind(text)

    def _fill(self, hint: str) -> str:
        return hint.format(name=self._profile.name)


class _AwsFrameDecoder:
    """A decoder from frames of AWS (``application/vnd.amazon.eventstream``), however they were split, to events.

    botocore checks lengths and checksums. The payload of a frame holds one event of the stream in base64.
    """

    def __init__(self, limits: StreamLimits = _STREAM_LIMITS) -> None:
        self._aws: Any = import_module("botocore.eventstream")
        self._buffer = self._aws.EventStreamBuffer()
        self._limits = limits
        self._total_bytes = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that ``chunk`` completes. Raises ``BadReply`` beyond the limits and for broken frames."""
        self._total_bytes += len(chunk)
        if self._total_bytes > self._limits.total_bytes:
            raise BadReply(f"the response has a stream of more than {self._limits.total_bytes} bytes")
        try:
            self._buffer.add_data(chunk)
            return [_read_frame(frame.headers, frame.payload) for frame in self._buffer]
        except self._aws.ParserError as error:
            raise BadReply(f"a frame of the stream is broken: {error}") from None
        except ValueError:  # not JSON, not base64, not UTF-8
            raise BadReply("a frame of the stream does not contain an event") from None


def _read_frame(headers: Mapping[str, object], payload: bytes) -> Event:
    data = as_object(read_json(payload, RESPONSE_LIMITS)) if payload else {}
    if headers.get(":message-type") == "event":
        return Event("", b64decode(as_text(data.get("bytes"))).decode() or "{}")  # without bytes: an unknown event
    code = as_text(headers.get(":exception-type")) or as_text(headers.get(":error-code"))
    message = as_text(data.get("message")) or as_text(headers.get(":error-message"))
    return Event("error", dump_json({"type": "error", "error": {"type": code, "message": message}}).decode())


def _find_row(error: BaseException) -> tuple[type[AutorouteError], str] | None:
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__)
    return next((_EXCEPTIONS[name] for name in names if name in _EXCEPTIONS), None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _add_aws_code(error_type: str, body: bytes) -> bytes:
    """Return an error's body with the code that AWS sends in a header only (``ThrottlingException:http://...``)."""
    code = error_type.partition(":")[0]
    try:
        message = as_object(read_json(body, RESPONSE_LIMITS)).get("message") if code else None
    except ValueError:
        message = None
    return dump_json({"error": {"type": code, "message": message}}) if isinstance(message, str) else body


def _limit_error_body(response: httpx2.Response) -> None:
    """Keep the beginning of a response that is not a stream; the SDK would read all of it, and unpack it."""
    import httpx2

    if not is_stream(response.status_code, response.headers):
        with closing(cast("httpx2.SyncByteStream", response.stream)) as stream:
            body = read_error_body(response.status_code, response.headers, stream, httpx2.HTTPError)
        response.headers.pop("content-encoding", None)
        response.stream = httpx2.ByteStream(body)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it is part of
        return False


def connect(profile: ProviderProfile, route: Route, clocks: Clocks, redactor: Redactor) -> StreamingModel:
    """Return the model behind a platform; nothing is sent yet.

    Raises ``ConfigError`` when a package is missing, or for an unusable error table.
    """
    platform = _PLATFORMS[profile.platform]
    missing = [package for package in platform.packages if not _is_installed(package)]
    if missing:
        raise ConfigError(
            f"[providers.{profile.name}] needs packages that are not installed: {', '.join(missing)}",
            hint=platform.install,
        )
    check_error_table(profile)
    version = (profile.version or _BODY_VERSION) if platform.url_fields else ""
    codec = MessagesCodec(profile, body_version=version, url_fields=platform.url_fields)
    return StreamingModel(codec, SdkTransport(codec, profile, route, clocks, redactor), clocks)

"""Phases, provider profiles, routes, and the resolved configuration of one run.

All are immutable values. ``config/`` makes them from files, environment and flags; everything else reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autoroute.errors import ConfigError, Limit
from autoroute.network import NetworkAccess, parse_network_access
from autoroute.patterns import pattern
from autoroute.redaction import Redactor


class Phase(StrEnum):
    """The four phases, in order."""

    SPEC = "spec"
    PLANNING = "planning"
    CODING = "coding"
    QA = "qa"


Wire = Literal["anthropic-messages", "openai-chat", "openai-responses", "scripted"]
Auth = Literal["x-api-key", "bearer", "none"]
Effort = Literal["", "low", "medium", "high"]
Billing = Literal["usage", "plan", "free"]
RunnerName = Literal["native", "claude-code"]
ServedModel = Literal["strict", "warn", "off"]


class _Data(BaseModel):
    # Strict, so that "yes" is not True and 1 is not a text: settings are written by hand.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quirks(_Data):
    """Where a provider differs from the plain form of its wire. The codecs read it."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    cache_control: bool = False
    """anthropic-messages: mark what the prompt cache is to keep."""
    effort: Literal["", "output_config", "reasoning_effort", "reasoning_effort_unless_tools", "reasoning"] = ""
    """The request field that carries the effort; "" sends none. ``reasoning`` is for openai-responses.

    ``reasoning_effort_unless_tools`` sends ``reasoning_effort: none`` in a request with tools. OpenAI's own models from
    gpt-5.4 on refuse tools together with reasoning on openai-chat, even if the request has no effort.
    """
    usage_in_stream: bool = True
    """openai-chat: ask for usage with ``stream_options``."""
    reasoning_replay: bool = False
    """openai-chat: send an assistant message back with the ``reasoning_content`` that it came with."""
    short_tool_ids: bool = False
    """openai-chat: ids of tool calls are nine letters or digits, as Mistral requires."""
    thought_signature: bool = False
    """openai-chat: send tool calls of other models back with Google's placeholder for a missing signature."""


class ProviderProfile(_Data):
    """A provider, as data. A user's ``[providers.NAME]`` table is merged over the built-in one."""

    name: str
    title: str = ""
    like: str = ""
    """A provider with the same models in the catalog. Keys that are not set here have its values, except title, models
    and runner."""
    wire: Wire
    runner: RunnerName = "native"
    """Who drives a phase's tool loop: autoroute, or the vendor's own program."""
    logins: bool = False
    """Whether its accounts are logins that the runner's program keeps. autoroute has no key for them."""
    base_url: str
    """The URL before ``/v1/messages``, ``/chat/completions`` or ``/responses``, with or without a trailing slash."""
    auth: Auth = "bearer"
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key. The first one that is set is used."""
    key_page: str = ""
    """The page where a person gets a key."""
    key_check: str = ""
    """The path of a free GET that only a valid key passes, relative to ``base_url`` (``../v1/key``); "" if unknown."""
    model_list: str = ""
    """The path of a free GET that lists the models, also relative; often the same."""
    refused_keys: Mapping[str, str] = Field(default_factory=dict)
    """Prefix of a key that belongs to another provider -> what to do with it."""
    hints: Mapping[str, str] = Field(default_factory=dict)
    """Vendor error code -> hint, where the class of the error does not tell the user enough."""
    billing: Billing = "usage"
    """Whether a token costs money, is part of a flat fee, or runs on the user's own machine."""
    version: str = ""
    """Value of the ``anthropic-version`` header where the wire has one; on some platforms a field of the body."""
    platform: Literal["", "bedrock", "vertex", "foundry", "anthropic-sdk"] = ""
    """A cloud platform of Claude. The anthropic SDK's client finds its credentials; see ``wire/platforms.py``."""
    region: str = ""
    """bedrock, vertex: where the model runs; "" means what the platform's own tools read."""
    project: str = ""
    """vertex: the Google Cloud project; "" as for ``region``."""
    resource: str = ""
    """foundry: the resource; anthropic-sdk: the Console profile; "" as for ``region``."""
    models: Mapping[str, str] = Field(default_factory=dict)
    """Model as the user writes it -> model as it is sent."""
    errors: Mapping[str, str] = Field(default_factory=dict)
    """Vendor error code or type, or HTTP status (``403``, ``400 (no body)``) -> name of a ``ProviderError`` class.

    It takes precedence over the wire's own table.
    """
    limits: Mapping[str, Limit] = Field(default_factory=dict)
    """The same keys -> the limit that was hit."""
    utc_offset: float = Field(default=0.0, ge=-14, le=14)
    """Hours from UTC of reset times that its messages give without a zone."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Requests of one account at the same time, by all runs on this machine; None for no limit."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests of one account in a minute, by all runs on this machine; None for no limit."""
    quirks: Quirks = Quirks()

    @property
    def host(self) -> str:
        """Host and port of its requests. They contain ``{region}`` if only the platform's tools know the region."""
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        # Hosts of Vertex name a region (us-east5). They do not contain its multi-regions "global", "us" and "eu".
        region = self.region if "-" in self.region else "{region}"
        return host.replace("{region}", region).replace("{resource}", self.resource or "{resource}")


class Budget(_Data):
    """What may be spent; None for no limit."""

    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)


class Limits(_Data):
    """Limits of a run, so that every part of it ends. Times in seconds."""

    max_rounds: int = Field(default=3, ge=1)
    max_attempts: int = Field(default=3, ge=1)
    """Attempts at one subtask."""
    max_corrections: int = Field(default=3, ge=0)
    """How often an artifact that fails validation goes back to the model."""
    max_turns: int = Field(default=120, ge=1)
    """Turns of one conversation."""
    max_retries: int = Field(default=4, ge=0)
    """Retries of one request."""
    command_timeout: float = Field(default=120.0, gt=0)
    """For a shell command of a model that names no timeout. A model may ask for up to ten times this."""
    verify_timeout: float = Field(default=900.0, gt=0)


OnLimit = Literal["ask", "wait", "switch", "fallback", "stop"]

_DURATION = pattern(r"(?=[\d.])(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(value: object) -> object:
    """Parse ``2h``, ``1h30m``, ``90s`` or ``90`` as seconds. Raises ``ValueError`` for other text."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ValueError("write a duration, as 90s, 30m or 2h30m")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class RecoverySettings(_Data):
    """What happens when a provider cannot continue. Times in seconds."""

    on_limit: OnLimit = "ask"
    """What to try first. ``ask`` asks at a terminal and follows a fixed order elsewhere."""
    max_wait: Annotated[float, BeforeValidator(parse_duration)] = Field(default=7200.0, ge=0)
    """The limit of all waits of a run together."""
    ask_for: Annotated[float, BeforeValidator(parse_duration)] = Field(default=60.0, gt=0)
    """How long a question at the terminal waits before autoroute takes its default."""
    allow_paid: bool = False
    """Whether a route that costs money per token may replace one with a flat fee without a question."""


SandboxMode = Literal["auto", "bubblewrap", "landlock", "seatbelt", "off"]


def _parse_list(value: object) -> object:
    """Return a list as a tuple, which TOML does not have, and one text as a tuple of one."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_parse_list)]
NetworkSetting = Annotated[NetworkAccess, BeforeValidator(parse_network_access)]


class SandboxSettings(_Data):
    """The sandbox of model commands and verify commands. Sizes in bytes."""

    mode: SandboxMode = "auto"
    """``auto`` takes the strongest that works, a name that one. ``off`` runs commands with the user's permissions."""
    network: NetworkSetting = NetworkAccess("off")
    setup: Texts = ()
    """Commands to run once before coding, with the network of ``setup_network``.

    ``auto`` stands for those that the lock files of the repository call for, ``none`` for none.
    """
    setup_network: NetworkSetting = NetworkAccess("on")
    readable: Texts = ()
    """Files and folders that commands may read in addition to the system and the toolchains on the PATH."""
    variables: Texts = ()
    """The user's environment variables that commands get in addition to the usual ones."""
    setup_variables: Texts = ()
    """Those that setup commands get besides: tokens of package registries. Their values are redacted everywhere."""
    processes: int = Field(default=512, ge=8)
    memory: int = Field(default=8 * 1024**3, ge=64 * 1024**2)
    """For a command and its child processes together."""
    file_size: int = Field(default=1024**3, ge=1024**2)


class WorkspaceSettings(_Data):
    """What commands find beside the files of the commit, and what they may keep. Sizes in bytes."""

    carry: Literal["auto", "none"] = "auto"
    """``auto`` shows the environments of the checkout (``.venv``, ``node_modules``) and the caches of tools."""
    cache: Literal["run", "repository", "none"] = "run"
    """How long the home folder of commands lasts: for the run, for all runs of the repository, or for one command."""
    setup_cache: int = Field(default=10 * 1024**3, ge=0)
    """How much of what set-ups made is kept for later runs, of all repositories together; 0 keeps nothing."""


Canary = Literal["off", "warn", "require"]
"""What it means that no verify command notices a change: nothing, a warning, or that the change is rejected."""


class VerifySettings(_Data):
    """How verify commands are checked themselves."""

    baseline: bool = True
    """Whether each runs once before the work, to tell what its result says about the change."""
    canary: Canary = "warn"
    """Whether they run once with the source files of the change made unparsable, and what follows if all pass."""


class Clocks(_Data):
    """Timeouts of a request, in seconds."""

    connect: float = Field(default=10.0, gt=0)
    first_byte: float = Field(default=120.0, gt=0)
    idle: float = Field(default=90.0, gt=0)
    turn: float = Field(default=1800.0, gt=0)


def origin(url: str) -> str:
    """Return ``scheme://host:port`` of a URL, in lower case and with the default port."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


class Secret:
    """A key, bound to the one origin that it may be sent to. Its ``repr`` does not show it."""

    __slots__ = ("_value", "origin", "source")

    def __init__(self, value: str, *, origin: str, source: str) -> None:
        self._value = value
        self.origin = origin
        self.source = source
        """Where it came from, for messages: ``ZAI_API_KEY`` (never the value)."""

    def reveal(self, url: str) -> str:
        """Return the key for a request to ``url``. Raises ``ConfigError`` for an origin other than its own."""
        if origin(url) != self.origin:
            raise ConfigError(f"the key from {self.source} belongs to {self.origin}, not to {origin(url)}")
        return self._value

    def redact(self, text: str) -> str:
        """Return the text without the key, in all forms that ``Redactor`` knows."""
        return Redactor([self._value]).redact(text)

    def add_to(self, redactor: Redactor) -> None:
        """Have ``redactor`` hide the key from now on."""
        redactor.learn([self._value])

    def __repr__(self) -> str:
        return f"Secret(***, origin={self.origin!r}, source={self.source!r})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never pickled or copied")


@dataclass(frozen=True, slots=True)
class Route:
    """A provider and a model for a phase, fully resolved.

    ``requested`` is what the user wrote (an alias, an id, ``provider/model``), ``model`` the exact id that is sent.
    ``context`` and ``max_output`` are in tokens; None if the catalog does not know the model.
    """

    provider: str
    model: str
    requested: str
    host: str = ""
    account: str = "default"
    effort: Effort = ""
    context: int | None = None
    max_output: int | None = None
    tools: bool = True
    """Whether the model calls tools, according to the catalog or preflight."""
    runner: RunnerName = "native"
    """The program that drives its tool loop."""

    @property
    def name(self) -> str:
        """``provider/model``, as messages name it."""
        return f"{self.provider}/{self.model}"

    @property
    def identity(self) -> tuple[str, str, str]:
        """Provider, model and account. Limits apply to it, and only it accepts its thinking."""
        return self.provider, self.model, self.account


@dataclass(frozen=True, slots=True)
class PhaseRouting:
    """A phase's primary route and its fallbacks, in order."""

    primary: Route
    fallbacks: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The complete configuration of one run. ``sources`` says where each value came from."""

    phases: Mapping[Phase, PhaseRouting]
    providers: Mapping[str, ProviderProfile]
    limits: Limits = field(default_factory=Limits)
    clocks: Clocks = field(default_factory=Clocks)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    """The budget of the run under "run", and of each phase under its name."""
    served_model: ServedModel = "strict"
    """What happens when a reply names another model than the requested one."""
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    gates: tuple[Phase, ...] = ()
    """The phases after which the run waits for approval."""
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    workspace: WorkspaceSettings = field(default_factory=WorkspaceSettings)
    verify: VerifySettings = field(default_factory=VerifySettings)
    sources: Mapping[str, str] = field(default_factory=dict)

    def profile(self, route: Route) -> ProviderProfile:
        """Return the provider profile of a route."""
        return self.providers[route.provider]


@dataclass(frozen=True, slots=True)
class Task:
    """A task: ``text`` is Markdown without its front matter, ``title`` one line, ``source`` its file for messages."""

    title: str
    text: str
    source: str = ""

"""Who does what: phases, provider profiles, routes, and the resolved configuration of one run.

These are values. ``config/`` makes them from files, environment and flags; everything else reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autoroute.errors import ConfigError, Limit
from autoroute.network import Reachable, read_reachable
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
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quirks(_Data):
    """Where a provider differs from the plain form of its wire; read by the codecs."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    cache_control: bool = False
    """anthropic-messages: mark what the prompt cache should keep."""
    effort: Literal["", "output_config", "reasoning_effort", "reasoning_effort_unless_tools", "reasoning"] = ""
    """Which request field carries the effort; "" sends none. ``reasoning`` is that of openai-responses.

    ``reasoning_effort_unless_tools`` says ``reasoning_effort: none`` in a request that offers tools, because OpenAI's
    own models from gpt-5.4 on refuse tools together with reasoning on openai-chat, also when the effort is left out.
    """
    usage_in_stream: bool = True
    """openai-chat: ask for usage with ``stream_options``."""
    reasoning_replay: bool = False
    """openai-chat: an assistant message goes back with the ``reasoning_content`` it came with."""
    short_tool_ids: bool = False
    """openai-chat: ids of tool calls are nine letters or digits."""
    thought_signature: bool = False
    """openai-chat: tool calls go back with Google's word for "from elsewhere" in place of a signature."""


class ProviderProfile(_Data):
    """A provider, as data. A user's ``[providers.NAME]`` table is merged over the built-in one."""

    name: str
    title: str = ""
    like: str = ""
    """A sibling with the same models in the catalog; what is not said here is as it is there, but for title, models
    and runner."""
    wire: Wire
    runner: RunnerName = "native"
    """Who drives a phase's tool loop: we ourselves, or the vendor's own program."""
    logins: bool = False
    """Its accounts are logins that the runner's program keeps: no key of ours has anything to do with them."""
    base_url: str
    """What comes before ``/v1/messages``, ``/chat/completions`` or ``/responses``; no trailing slash needed."""
    auth: Auth = "bearer"
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key; the first one that is set is used."""
    key_page: str = ""
    """Where a person gets a key."""
    key_check: str = ""
    """A free GET that only a good key passes, relative to ``base_url`` (``../v1/key`` goes up); "" = none is known."""
    model_list: str = ""
    """A free GET that lists the models, likewise; often the same."""
    refused_keys: Mapping[str, str] = Field(default_factory=dict)
    """How a key begins that is none for this provider -> what to do with it."""
    hints: Mapping[str, str] = Field(default_factory=dict)
    """Vendor error code -> what mends it, where the class of the error does not say it."""
    billing: Billing = "usage"
    """Whether a token costs money, is part of a flat fee, or runs on the user's own machine."""
    version: str = ""
    """Value of the ``anthropic-version`` header, where the wire has it; of that field of the body on some platforms."""
    platform: Literal["", "bedrock", "vertex", "foundry", "anthropic-sdk"] = ""
    """Claude through a client of the anthropic SDK, which finds the credentials; see ``wire/platforms.py``."""
    region: str = ""
    """bedrock, vertex: where the model runs; "" leaves it to what the platform's own tools read."""
    project: str = ""
    """vertex: the Google Cloud project; "" likewise."""
    resource: str = ""
    """foundry: the resource; anthropic-sdk: the Console profile; "" likewise."""
    models: Mapping[str, str] = Field(default_factory=dict)
    """What the user writes -> what is sent."""
    errors: Mapping[str, str] = Field(default_factory=dict)
    """Vendor error code or type, or HTTP status (``403``, ``400 (no body)``) -> name of a ``ProviderError`` class.

    Read before the wires' own tables.
    """
    limits: Mapping[str, Limit] = Field(default_factory=dict)
    """The same keys -> which limit it means."""
    utc_offset: float = Field(default=0.0, ge=-14, le=14)
    """Hours from UTC of the reset times that its messages give without a zone."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Requests of one account at the same time, by all runs on this machine; None is no bound."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Of one account, likewise."""
    quirks: Quirks = Quirks()

    @property
    def host(self) -> str:
        """Host and port that requests go to; with ``{region}`` in it where only the platform's tools know."""
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        # Vertex's "global", "us" and "eu" are no part of a host of that form.
        region = self.region if "-" in self.region else "{region}"
        return host.replace("{region}", region).replace("{resource}", self.resource or "{resource}")


class Budget(_Data):
    """What may be spent; None is: no bound."""

    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)


class Limits(_Data):
    """Bounds of a run: nothing in it goes on for ever. Times in seconds."""

    max_rounds: int = Field(default=3, ge=1)
    max_attempts: int = Field(default=3, ge=1)
    """Attempts of one subtask."""
    max_corrections: int = Field(default=3, ge=0)
    """How often an artifact that fails validation goes back to the model."""
    max_turns: int = Field(default=120, ge=1)
    """Turns of one conversation."""
    max_retries: int = Field(default=4, ge=0)
    """Retries of one request."""
    command_timeout: float = Field(default=120.0, gt=0)
    """A shell command of a model, when it names no time-out of its own; it may ask for up to ten times this."""
    verify_timeout: float = Field(default=900.0, gt=0)


OnLimit = Literal["ask", "wait", "switch", "fallback", "stop"]

_DURATION = re.compile(r"(?=[\d.])(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


def read_duration(value: object) -> object:
    """``2h``, ``1h30m``, ``90s`` or ``90`` as seconds; raises ``ValueError`` for other text."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ValueError("a duration such as 90s, 30m or 2h30m is expected")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class RecoverySettings(_Data):
    """What happens when a provider cannot go on. Times in seconds."""

    on_limit: OnLimit = "ask"
    """What is tried first; ``ask`` asks at a terminal, and decides by itself elsewhere."""
    max_wait: Annotated[float, BeforeValidator(read_duration)] = Field(default=7200.0, ge=0)
    """What all waits of a run may take together."""
    ask_for: Annotated[float, BeforeValidator(read_duration)] = Field(default=60.0, gt=0)
    """How long a question at the terminal waits before its default is taken."""
    allow_paid: bool = False
    """Whether what costs a token may take the place of what is part of a flat fee, with nobody asked."""


SandboxMode = Literal["auto", "bubblewrap", "landlock", "seatbelt", "off"]


def _read_list(value: object) -> object:
    """A list, or one text for a list of one; TOML has no tuples."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_read_list)]
NetworkSetting = Annotated[Reachable, BeforeValidator(read_reachable)]


class SandboxSettings(_Data):
    """What holds commands of models back. Sizes in bytes."""

    mode: SandboxMode = "auto"
    """``auto`` takes the strongest that works, a name that one alone; ``off`` runs them with the user's rights."""
    network: NetworkSetting = Reachable("off")
    setup: Texts = ()
    """Commands that are run once before coding, with the network of ``setup_network``."""
    setup_network: NetworkSetting = Reachable("on")
    readable: Texts = ()
    """Files and folders that commands may read beside the system's and the toolchains that are found."""
    variables: Texts = ()
    """Variables of the user's that reach commands beside the usual ones."""
    processes: int = Field(default=512, ge=8)
    memory: int = Field(default=8 * 1024**3, ge=64 * 1024**2)
    """Of a command and all that it starts, together."""
    file_size: int = Field(default=1024**3, ge=1024**2)


class Clocks(_Data):
    """How long a provider may be silent, in seconds."""

    connect: float = Field(default=10.0, gt=0)
    first_byte: float = Field(default=120.0, gt=0)
    idle: float = Field(default=90.0, gt=0)
    turn: float = Field(default=1800.0, gt=0)


def origin(url: str) -> str:
    """``scheme://host:port`` of a URL, lower case, with the default port made explicit."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


class Secret:
    """A key, bound to the one origin that it may be sent to. It shows itself to nobody."""

    __slots__ = ("_value", "origin", "source")

    def __init__(self, value: str, *, origin: str, source: str) -> None:
        self._value = value
        self.origin = origin
        self.source = source
        """Where it came from, for people: ``ZAI_API_KEY`` (never the value)."""

    def reveal(self, url: str) -> str:
        """The key itself, for a request to ``url``; refuses any other origin than its own."""
        if origin(url) != self.origin:
            raise ConfigError(f"the key from {self.source} belongs to {self.origin}, not to {origin(url)}")
        return self._value

    def redact(self, text: str) -> str:
        """The text without the key, in whatever form it stands there."""
        return Redactor([self._value]).redact(text)

    def make_known(self, redactor: Redactor) -> None:
        """Have the key hidden from now on: nothing but this is told what it is, unasked."""
        redactor.learn([self._value])

    def __repr__(self) -> str:
        return f"Secret(***, origin={self.origin!r}, source={self.source!r})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never pickled or copied")


@dataclass(frozen=True, slots=True)
class Route:
    """A provider and a model for a phase, resolved: nothing in it is guessed later.

    ``requested`` is what the user wrote (an alias, an id, ``provider/model``), ``model`` the exact id that
    is sent. ``context`` and ``max_output`` are in tokens, None when the catalog does not know the model.
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
    """Whether it calls tools, as the catalog or preflight knows."""
    runner: RunnerName = "native"
    """Who drives its tool loop."""

    @property
    def name(self) -> str:
        """``provider/model``: how people see it."""
        return f"{self.provider}/{self.model}"

    @property
    def place(self) -> tuple[str, str, str]:
        """Provider, model and account: what limits hold for, and where thinking is valid."""
        return self.provider, self.model, self.account


@dataclass(frozen=True, slots=True)
class PhaseRouting:
    """A phase's primary route and its fallbacks, in order."""

    primary: Route
    fallbacks: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What one run will do, with nothing left to decide. ``sources`` says where each value came from."""

    phases: Mapping[Phase, PhaseRouting]
    providers: Mapping[str, ProviderProfile]
    limits: Limits = field(default_factory=Limits)
    clocks: Clocks = field(default_factory=Clocks)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    """The run's under "run", those of phases under their names."""
    served_model: ServedModel = "strict"
    """What happens when a reply names another model than was asked for."""
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    gates: tuple[Phase, ...] = ()
    """Phases after which the run waits for approval."""
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    sources: Mapping[str, str] = field(default_factory=dict)

    def profile(self, route: Route) -> ProviderProfile:
        """The profile behind a route."""
        return self.providers[route.provider]


@dataclass(frozen=True, slots=True)
class Task:
    """What the user wants done: ``text`` is Markdown without its front matter, ``title`` one line."""

    title: str
    text: str
    source: str = ""

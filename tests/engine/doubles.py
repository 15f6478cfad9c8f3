"""Doubles of the engine's ports, passed in as arguments."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from autoroute import tools, workspace
from autoroute.engine import ports
from autoroute.engine.agent import Agent
from autoroute.engine.context import RunContext, RunFiles, RunIdentity, SittingOptions, Workbench
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import Decider, Unattended
from autoroute.engine.ports import Switching
from autoroute.engine.recovery import Recovery
from autoroute.engine.replay import apply_each
from autoroute.engine.sitting import Sitting
from autoroute.errors import LimitReached, ProviderError
from autoroute.events import Event, Intent
from autoroute.messages import Allowance, Delta, Message, Part, Reply, Request, Stop, Text, ToolCall, ToolSpec, Usage
from autoroute.redaction import Redact
from autoroute.routing import Billing, Limits, Phase, PhaseRouting, RecoverySettings, Route, RunConfig, Task
from autoroute.state import RunState
from autoroute.tools import PreparedCall, ToolOutcome
from autoroute.wire import Model
from autoroute.workspace import Changes, CommandResult, Differences, Publication

Result = TypeVar("Result")

ROUTE = Route(provider="acme", model="acme-1", requested="acme/acme-1", account="work")
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def reply(*parts: Part, stop: Stop = Stop.END, usage: Usage = Usage()) -> Reply:  # noqa: B008 - a frozen value
    return Reply(Message("assistant", parts or (Text("done"),)), stop, served_model="acme-1-0815", usage=usage)


def call(name: str, arguments: str = "{}", id: str = "c1") -> ToolCall:
    return ToolCall(id, name, arguments)


def digest(request: Request) -> str:
    """Tell requests apart."""
    return hashlib.sha256(repr(request).encode()).hexdigest()


@dataclass
class ScriptedModel:
    """Plays its script in order: a reply is given, an error raised."""

    script: list[Reply | ProviderError]
    requests: list[Request] = field(default_factory=list)
    closed: bool = False
    interrupted: bool = False

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        self.requests.append(request)
        following = self.script.pop(0)
        if isinstance(following, ProviderError):
            yield Delta("text", "half a sen")
            raise following
        yield Delta("text", following.message.text)
        yield following

    def digest(self, request: Request) -> str:
        return digest(request)

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.closed = True


@dataclass
class TestClock:
    """Time stands still but for ``sleep``, which is written down."""

    __test__ = False
    slept: list[float] = field(default_factory=list)
    spread: float = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=sum(self.slept))

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def jitter(self) -> float:
        return self.spread


@dataclass
class Toolbox:
    """Tools by name: what each does, and whether it only reads. ``needs_checkpoint`` ones want a checkpoint."""

    tools: MutableMapping[str, tuple[bool, Callable[[ToolCall], ToolOutcome]]]
    needs_checkpoint: Sequence[str] = ()
    prepared: list[str] = field(default_factory=list)
    picked_up: list[str] = field(default_factory=list)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, name, "{}") for name in self.tools)

    def prepare(self, call: ToolCall) -> PreparedCall:
        self.prepared.append(call.id)
        read_only, act = self.tools[call.name]
        return PreparedCall(
            f"{call.name} {call.id}", read_only, lambda: act(call), needs_checkpoint=call.name in self.needs_checkpoint
        )

    def prepare_interrupted(self, call: ToolCall, intent: Intent | None) -> PreparedCall:
        self.picked_up.append(call.id)
        if call.name in self.needs_checkpoint:
            return PreparedCall(call.name, read_only=False, run=lambda: ToolOutcome("interrupted", is_error=True))
        return self.prepare(call)


class LeftOutFiles:
    """Leaves nothing out."""

    def explain(self, path: str) -> str:
        return ""

    def find_uncommitted(self, paths: Iterable[str]) -> Mapping[str, str]:
        return {}

    def list_new(self) -> Sequence[str]:
        return ()

    def find_new(self, tree: str, written: Mapping[str, str]) -> Sequence[str]:
        return ()

    def find_staged(self, commands: workspace.Commands, paths: Sequence[str], log: Path) -> Collection[str]:
        return ()

    def without(self, tree: str, paths: Sequence[str]) -> str:
        return tree

    def fold(self, tree: str, paths: Sequence[str]) -> Sequence[str]:
        return paths


@dataclass
class Workspace:
    """Trees are numbers, and nothing is there."""

    restored: list[str] = field(default_factory=list)
    diff_to_come: str = ""
    differences: Differences = field(default_factory=Differences)
    _trees: Iterator[int] = field(default_factory=lambda: count(1))

    root = Path("/nowhere")
    place: Path | None = None
    base = ""
    left_out = LeftOutFiles()

    submodules: Mapping[str, str] = field(default_factory=dict)
    submodule_changes: list[Changes] = field(default_factory=list)

    def take_submodule_changes(self) -> Changes:
        return self.submodule_changes.pop(0) if self.submodule_changes else Changes()

    def open(self, tip: str = "", *, needed: bool = False) -> None: ...

    def snapshot(self) -> str:
        return f"tree-{next(self._trees)}"

    def restore(self, tree: str) -> Changes:
        self.restored.append(tree)
        return Changes()

    def keep_setup(self, *, again: bool = False) -> None: ...

    def make_pristine(self) -> Differences:
        return self.differences

    def compare(self, tree: str, since: str = "") -> Changes:
        return Changes()

    def changed_files(self) -> Sequence[str]:
        return ()

    def overwritten(self, paths: Sequence[str], content: bytes) -> AbstractContextManager[Sequence[str]]:
        return nullcontext(())

    def commit(self, tree: str, subject: str, body: str, trailers: Mapping[str, str]) -> str:
        return ""

    def head_tree(self) -> str:
        return "tree-0"

    def diff(self, limit: int, redact: Redact = str) -> str:
        return ""

    def find_auto_executed(self) -> Mapping[str, str]:
        return {}

    def find_secrets(self, tree: str) -> Sequence[str]:
        return ()

    def exclude_new_files(self) -> None: ...

    def pending_diff(self, limit: int, redact: Redact = str) -> str:
        return self.diff_to_come

    def list_files(self, limit: int) -> Sequence[str]:
        return ()

    def find_holders(self, words: Sequence[str]) -> Callable[[str], bool]:
        return lambda path: True

    def pack_files(self, limit: int) -> str:
        return ""

    @property
    def environments(self) -> str:
        return ""

    def read_guidance(self, redact: Redact = str) -> str:
        return ""

    def publish(self, patch: Path, tip: str | None = None) -> Publication:
        return Publication("", "", 0)


@dataclass
class Cooldowns:
    """What is limited, in memory."""

    limits: dict[tuple[str, str, str], ProviderError] = field(default_factory=dict)
    kept: list[ProviderError] = field(default_factory=list)

    def record(self, route: Route, error: ProviderError) -> None:
        self.kept.append(error)
        if isinstance(error, LimitReached) and error.retry_at:
            self.limits[route.provider, route.model, route.account] = error

    def active_limit(self, route: Route) -> ProviderError | None:
        return self.limits.get((route.provider, route.model, route.account))

    def clear(self, route: Route) -> None:
        self.limits.pop((route.provider, route.model, route.account), None)


@dataclass
class Pacer:
    """Lets everything go, after the waits that it was given."""

    waits: list[float] = field(default_factory=list)
    left: list[tuple[Route, tuple[Allowance, ...]]] = field(default_factory=list)

    def acquire(self, route: Route, tokens: int) -> float:
        return self.waits.pop(0) if self.waits else 0.0

    def release(self, route: Route, allowances: Sequence[Allowance]) -> None:
        self.left.append((route, tuple(allowances)))


@dataclass
class Providers:
    """Models by route name; a token costs a millionth of a dollar, unless ``flat`` names the provider."""

    models: dict[str, ScriptedModel]
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Provider -> its other accounts."""
    flat: Sequence[str] = ()
    refused: dict[str, ProviderError] = field(default_factory=dict)
    """Provider:account -> what a free look at its key says."""
    cooldowns: Cooldowns = field(default_factory=Cooldowns)
    pacer: Pacer = field(default_factory=Pacer)
    logins: Mapping[str, Switching] = field(default_factory=dict)
    is_served: Callable[[Route, str], bool] = lambda _route, _served: True
    connected: list[Route] = field(default_factory=list)

    price_tables = "made up"

    def connect(self, route: Route, root: Path = Path()) -> Model:
        self.connected.append(route)
        return self.models[route.name]

    def recheck(self, route: Route) -> None:
        error = self.refused.get(f"{route.provider}:{route.account}")
        if error is not None:
            raise error

    def accounts(self, route: Route) -> Sequence[Route]:
        labels = [route.account, *self.others.get(route.provider, ())]
        return [replace(route, account=label) for label in dict.fromkeys(labels) if label != route.account]

    def switching(self, route: Route) -> Switching:
        return self.logins.get(route.provider, "policy")

    def billing(self, route: Route) -> Billing:
        return "plan" if route.provider in self.flat else "usage"

    def cost(self, route: Route, usage: Usage) -> float | None:
        return 0.0 if route.provider in self.flat else usage.total / 1_000_000

    def is_model(self, route: Route, served: str) -> bool:
        return self.is_served(route, served)


class Idle:
    """Runs no command."""

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        return CommandResult(0, "", 0.0)

    def kill_leftovers(self) -> int:
        return 0


def run_context(
    providers: ports.Providers,
    clock: TestClock,
    config: RunConfig | None = None,
    workspace: workspace.Workspace | None = None,
    decider: Decider | None = None,
    options: SittingOptions = SittingOptions(),  # noqa: B008 - a frozen value
    redact: Redact = str,
) -> RunContext:
    task = Task("Greet", "Greet the world.")
    return RunContext(
        identity=RunIdentity("r1", task, "/nowhere", "autoroute/r1", "autoroute resume r1"),
        config=config or RunConfig({phase: PhaseRouting(ROUTE) for phase in Phase}, {}),
        workbench=Workbench(workspace or Workspace(), Idle()),
        providers=providers,
        decider=decider or Unattended(clock),
        clock=clock,
        files=RunFiles(logs=Path("/nowhere/logs"), patch=Path("/nowhere/changes.patch")),
        options=options,
        redact=redact,
    )


def recovery(
    providers: Providers,
    clock: TestClock,
    phase: Phase = Phase.CODING,
    routing: PhaseRouting = PhaseRouting(ROUTE),  # noqa: B008 - a frozen value
    settings: RecoverySettings | None = None,
    decider: Decider | None = None,
    state: RunState | None = None,
) -> Recovery:
    config = RunConfig(dict.fromkeys(Phase, routing), {}, recovery=settings or RecoverySettings())
    return Recovery(phase, Sitting(run_context(providers, clock, config, decider=decider), state or RunState()))


def session(
    model: ScriptedModel,
    phase: Phase = Phase.CODING,
    limits: Limits | None = None,
    providers: Providers | None = None,
    routing: PhaseRouting = PhaseRouting(ROUTE),  # noqa: B008 - a frozen value
    settings: RecoverySettings | None = None,
    state: RunState | None = None,
    clock: TestClock | None = None,
    workspace: Workspace | None = None,
    **config: Any,
) -> tuple[ModelSession, TestClock]:
    """A session on the first route of the phase, and the clock that it sleeps on."""
    clock, providers = clock or TestClock(), providers or Providers({})
    providers.models.setdefault(routing.primary.name, model)
    resolved = RunConfig(
        dict.fromkeys(Phase, routing),
        {},
        limits=limits or Limits(),
        recovery=settings or RecoverySettings(),
        **config,
    )
    sitting = Sitting(run_context(providers, clock, resolved, workspace), state or RunState())
    return ModelSession(phase, routing.primary, sitting, Recovery(phase, sitting), "You are tested."), clock


@dataclass
class StatefulAgent:
    """An agent whose events are applied to the state, as the pipeline does it."""

    session: ModelSession
    toolbox: tools.Toolbox

    def __post_init__(self) -> None:
        self.agent = Agent(self.session, self.toolbox)

    def say(self, text: str) -> Generator[Event, None, dict[str, Any] | None]:
        return self._applied(self.agent.say(text))

    def obtain_artifact(self, prompt: str) -> Generator[Event, None, dict[str, Any]]:
        return self._applied(self.agent.obtain_artifact(prompt))

    @property
    def served_model(self) -> str:
        return self.agent.served_model

    def _applied(self, events: Generator[Event, None, Result]) -> Generator[Event, None, Result]:
        sitting = self.session.sitting
        return apply_each(events, sitting.state, sitting.context.redact)


def echo(call: ToolCall) -> ToolOutcome:
    return ToolOutcome(f"result of {call.id}")


def meeting(parties: int) -> Callable[[ToolCall], ToolOutcome]:
    """A tool that returns only when ``parties`` calls of it run at the same time."""
    barrier = threading.Barrier(parties)

    def meet(call: ToolCall) -> ToolOutcome:
        barrier.wait(timeout=10)
        return ToolOutcome(f"met as {call.id}")

    return meet

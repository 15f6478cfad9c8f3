"""The time of a turn beyond sending its bytes: engine, wire, tools and journal beside a bare loop on the same bytes."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx

from autoroute import wire
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import ModelServer
from autoroute.engine.agent import Agent
from autoroute.engine.context import RunContext, RunFiles, RunIdentity, Workbench
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import SystemClock, Unattended
from autoroute.engine.ports import Switching
from autoroute.engine.recovery import Recovery
from autoroute.engine.replay import apply_each
from autoroute.engine.sitting import Sitting
from autoroute.messages import Usage
from autoroute.providers.builtin import load_profiles
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.pacing import Pacer
from autoroute.routing import Billing, Clocks, Limits, Phase, PhaseRouting, Route, RunConfig, Task
from autoroute.state import RunState
from autoroute.store.journal import Journal
from autoroute.tools import ToolContext, open_toolbox
from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.repository import Repository

LENGTHS = [int(word) for word in sys.argv[1:]] or [10, 40, 160]
REPEATS = 3
TOOLS = ("read", "write", "edit", "bash", "grep", "find")


def main() -> None:
    """Print both times per turn, for conversations of growing length."""
    print("turns   engine ms/turn   bare ms/turn   added ms/turn   ratio")
    for turns in LENGTHS:
        reading = ScriptedReply(text="I read on.", calls=(ScriptedCall("read", '{"path":"notes.txt"}'),))
        script = Script((Rule("", "", (reading,) * turns + (ScriptedReply(text="Done."),)),))
        ours, bare = [], []
        for _ in range(REPEATS):
            with ModelServer(script) as server, tempfile.TemporaryDirectory() as folder:
                ours.append(timed(partial(converse, server.url, Path(folder), turns)))
                bodies = [request.raw for request in server.requests]
                bare.append(timed(partial(post, server.url, bodies)))
        a_turn, floor = statistics.median(ours) / turns * 1000, statistics.median(bare) / turns * 1000
        print(f"{turns:5} {a_turn:16.2f} {floor:14.2f} {a_turn - floor:15.2f} {a_turn / floor:7.2f}")


def timed(action: Callable[[], None]) -> float:
    """Return the seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


class Alone:
    """One provider at ``url``, with the real cooldowns and the real pacing."""

    def __init__(self, url: str, folder: Path) -> None:
        self.profiles = load_profiles({"anthropic": {"base_url": f"{url}/anthropic", "auth": "none"}}, "benchmark")
        now = SystemClock().now
        self.cooldowns = Cooldowns(folder / "cooldowns", now)
        self.pacer = Pacer(folder / "pace", self.profiles, now)

    @property
    def price_tables(self) -> str:
        """Return no price tables."""
        return ""

    def connect(self, route: Route, root: Path) -> wire.Model:  # noqa: ARG002 - part of the protocol
        """Return the model behind a route."""
        return wire.connect(self.profiles[route.provider], route, None, Clocks())

    def recheck(self, route: Route) -> None:
        """Check nothing."""

    def accounts(self, route: Route) -> Sequence[Route]:  # noqa: ARG002 - part of the protocol
        """Return no other accounts."""
        return ()

    def switching(self, route: Route) -> Switching:  # noqa: ARG002 - part of the protocol
        """Leave switching to the policy."""
        return "policy"

    def billing(self, route: Route) -> Billing:  # noqa: ARG002 - part of the protocol
        """Return that the route is free."""
        return "free"

    def cost(self, route: Route, usage: Usage) -> float | None:  # noqa: ARG002 - part of the protocol
        """Return a cost of zero."""
        return 0.0

    def is_model(self, route: Route, served: str) -> bool:  # noqa: ARG002 - part of the protocol
        """Accept any served model."""
        return True


def converse(url: str, folder: Path, turns: int, kind: type[Alone] = Alone) -> None:
    """Hold a conversation as a run does, with every event in a journal on disk."""
    (folder / "notes.txt").write_text("a line of notes\n" * 20)
    route = Route(provider="anthropic", model="claude-opus-4-5", requested="opus-4.5")
    clock, providers = SystemClock(), kind(url, folder)
    repository = Repository(folder, folder, "", "", {})
    context = RunContext(
        identity=RunIdentity("run", Task("Measure", "Measure."), str(folder), "", ""),
        config=RunConfig({Phase.CODING: PhaseRouting(route)}, {}, limits=Limits(max_turns=turns + 1)),
        workbench=Workbench(
            PrivateClone(repository, folder / "clone", "run", base=""), LocalCommands({"PATH": "/usr/bin:/bin"})
        ),
        providers=providers,
        decider=Unattended(clock),
        clock=clock,
        files=RunFiles(folder, folder / "changes.patch"),
    )
    sitting = Sitting(context, RunState())
    session = ModelSession(Phase.CODING, route, sitting, Recovery(Phase.CODING, sitting), "You measure.")
    tool_context = ToolContext(
        root=folder,
        commands=context.workbench.commands,
        logs=folder,
        command_timeout=10.0,
        ask=lambda _text, _options: "",
        check=lambda _kind, _artifact: [],
        ripgrep=None,
    )
    events = Agent(session, open_toolbox(TOOLS, tool_context)).say("Read the notes, again and again.")
    journal = Journal.create(folder / "events.jsonl")
    for event in apply_each(events, sitting.state, context.redact):
        journal.append(event)
    journal.close()
    session.close()


def post(url: str, bodies: list[bytes]) -> None:
    """Post the same bodies and read each response to its end: the floor of the measurement."""
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with httpx.Client(headers=headers, timeout=60) as client:
        for body in bodies:
            with client.stream("POST", f"{url}/anthropic/v1/messages", content=body) as response:
                for _ in response.iter_raw():
                    pass


if __name__ == "__main__":
    main()

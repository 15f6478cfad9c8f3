"""What a turn costs beyond sending its bytes: engine, wire, tools and journal against a bare loop on the same bytes."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import httpx

from autoroute import wire
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import ModelServer
from autoroute.engine.agent import Agent
from autoroute.engine.budget import BudgetTracker
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import SystemClock, Unattended, WaitBudget
from autoroute.engine.ports import Switching
from autoroute.engine.recovery import Recovery
from autoroute.messages import Usage
from autoroute.providers.builtin import load_profiles
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.pacing import Pacer
from autoroute.routing import Billing, Clocks, Limits, Phase, PhaseRouting, RecoverySettings, Route
from autoroute.store.journal import Journal
from autoroute.tools import ToolContext, open_toolbox
from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.repository import Repository

LENGTHS = [int(word) for word in sys.argv[1:]] or [10, 40, 160]
REPEATS = 3
TOOLS = ("read", "write", "edit", "bash", "grep", "find")


def main() -> None:
    """Print both times a turn, for conversations of growing length."""
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
    """Seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


class Alone:
    """One provider at ``url``, with the real memory of limits and the real pacing."""

    def __init__(self, url: str, folder: Path) -> None:
        self.profiles = load_profiles({"anthropic": {"base_url": f"{url}/anthropic", "auth": "none"}}, "benchmark")
        now = SystemClock().now
        self.cooldowns = Cooldowns(folder / "cooldowns", now)
        self.pacer = Pacer(folder / "pace", self.profiles, now)

    def connect(self, route: Route, root: Path) -> wire.Model:  # noqa: ARG002 - the interface's
        """The model behind a route."""
        return wire.connect(self.profiles[route.provider], route, None, Clocks())

    def recheck(self, route: Route) -> None:
        """Nothing to look at."""

    def accounts(self, route: Route) -> Sequence[Route]:  # noqa: ARG002 - the interface's
        """No others."""
        return ()

    def switching(self, route: Route) -> Switching:  # noqa: ARG002 - the interface's
        """As the policy says."""
        return "policy"

    def billing(self, route: Route) -> Billing:  # noqa: ARG002 - the interface's
        """Free."""
        return "free"

    def cost(self, route: Route, usage: Usage) -> float | None:  # noqa: ARG002 - the interface's
        """Nothing."""
        return 0.0

    def is_model(self, route: Route, served: str) -> bool:  # noqa: ARG002 - the interface's
        """Whatever it says."""
        return True


def converse(url: str, folder: Path, turns: int, kind: type[Alone] = Alone) -> None:
    """A conversation as a run holds it, every event in a journal on disk."""
    (folder / "notes.txt").write_text("a line of notes\n" * 20)
    route = Route(provider="anthropic", model="claude-opus-4-5", requested="opus-4.5")
    clock, providers, wait_budget = SystemClock(), kind(url, folder), WaitBudget(0.0)
    repository = Repository(folder, folder, "", "", {})
    recovery = Recovery(
        phase=Phase.CODING,
        routing=PhaseRouting(route),
        settings=RecoverySettings(),
        decider=Unattended(clock),
        clock=clock,
        wait_budget=wait_budget,
        providers=providers,
        left=lambda: "",
        resume="",
    )
    session = ModelSession(
        phase=Phase.CODING,
        route=route,
        connect=lambda route: providers.connect(route, folder),
        system="You measure.",
        limits=Limits(max_turns=turns + 1),
        clock=clock,
        turns=count(1),
        budget=BudgetTracker(providers.cost),
        providers=providers,
        wait_budget=wait_budget,
        workspace=PrivateClone(repository, folder / "clone", "run", base=""),
        recovery=recovery,
    )
    context = ToolContext(
        root=folder,
        commands=LocalCommands({"PATH": "/usr/bin:/bin"}),
        logs=folder,
        command_timeout=10.0,
        ask=lambda _text, _options: "",
        check=lambda _kind, _artifact: [],
        ripgrep=None,
    )
    journal = Journal.create(folder / "events.jsonl")
    for event in Agent(session, open_toolbox(TOOLS, context)).say("Read the notes, again and again."):
        journal.append(event)
    journal.close()
    session.close()


def post(url: str, bodies: list[bytes]) -> None:
    """The floor: the same bodies, each answer read to its end."""
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with httpx.Client(headers=headers, timeout=60) as client:
        for body in bodies:
            with client.stream("POST", f"{url}/anthropic/v1/messages", content=body) as response:
                for _ in response.iter_raw():
                    pass


if __name__ == "__main__":
    main()

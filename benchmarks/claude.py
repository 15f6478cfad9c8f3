"""The time of a turn in the official Claude CLI beside our own loop: same conversation, server and machine.

AUTOROUTE_TEST_CLAUDE=/path/to/claude python benchmarks/claude.py [TURNS ...]
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path

from turns import LENGTHS, REPEATS, Alone, converse, timed

from autoroute import wire
from autoroute.claude.model import AccountHooks, ClaudeModel
from autoroute.claude.process_environment import conversation_environment, gateway_environment
from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import ModelServer
from autoroute.routing import Clocks, Route


def main() -> None:
    """Print the time of a conversation in both, and what each turn adds."""
    print("turns   claude ms   native ms   claude ms/turn beyond its start   native ms/turn")
    start = statistics.median(timed(partial(hold, 0, ByClaude)) for _ in range(REPEATS)) * 1000
    for turns in LENGTHS:
        claude = statistics.median(timed(partial(hold, turns, ByClaude)) for _ in range(REPEATS)) * 1000
        native = statistics.median(timed(partial(hold, turns, Alone)) for _ in range(REPEATS)) * 1000
        print(f"{turns:5} {claude:11.0f} {native:11.0f} {(claude - start) / turns:33.1f} {native / turns:16.1f}")
    print(f"a conversation of one reply in claude, with its start and end: {start:.0f} ms")


def hold(turns: int, kind: type[Alone]) -> None:
    """Hold one conversation, from its start to its end."""
    reading = ScriptedReply(text="I read on.", calls=(ScriptedCall("read", '{"path":"notes.txt"}'),))
    script = Script((Rule("", "", (reading,) * turns + (ScriptedReply(text="Done."),)),))
    with ModelServer(script) as server, tempfile.TemporaryDirectory() as folder:
        converse(server.url, Path(folder), turns, kind)


class ByClaude(Alone):
    """The same provider, reached through the Claude CLI."""

    def connect(self, route: Route, root: Path) -> wire.Model:
        """Return the model behind a route."""
        program = os.environ.get("AUTOROUTE_TEST_CLAUDE") or shutil.which("claude")
        if program is None:
            raise SystemExit("claude command not found")
        profile, clocks = self.profiles[route.provider], Clocks()
        environ = {"PATH": os.environ["PATH"], "HOME": str(root)}
        account = gateway_environment(environ, profile, route.model, None, root / "own")
        hooks = AccountHooks(
            environment=partial(conversation_environment, account, profile, clocks, root / "cache"),
            annotate=lambda _error: None,
            record_usage=lambda _usage: None,
            reason_to_leave=lambda: None,
        )
        return ClaudeModel(Path(program), profile, clocks, root, hooks)


if __name__ == "__main__":
    main()

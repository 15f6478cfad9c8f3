"""Hostile strings in every field of every event: do control characters reach the terminal that are not ours?

python benchmarks/reliability/terminal.py [STRINGS] [SEED]

Each string is put into every text of a run's events and shown in every format; the live screen and the panel are shown
on a pseudo-terminal. The control writes the same strings with Rich alone.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parents[2]))

from autoroute.cli.prompts import AtTerminal
from autoroute.engine.policy import Question, SystemClock
from autoroute.events import Event, RunEnded
from autoroute.render import open_renderer
from autoroute.render.panel import draw_panel, draw_wait
from autoroute.routing import Phase
from tests.render.hostile import hostile_strings, residue
from tests.render.spoiling import spoil
from tests.render.terminal import Terminal
from tests.store.examples import BLOCKED, RUN


def shown_by_stream(format: str, events: tuple[Event, ...]) -> str:
    """Return all that a format writes; check that each JSON line is valid."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with open_renderer(format, stdout=stdout, stderr=stderr, deltas=True) as renderer:
        for event in events:
            renderer.show(event)
    if format == "jsonl":
        assert len([json.loads(line) for line in stdout.getvalue().split("\n") if line]) == len(events)
        assert stdout.getvalue().isascii()
    return stdout.getvalue() + stderr.getvalue()


def shown_on_terminal(string: str, events: tuple[Event, ...]) -> Iterator[str]:
    """Return what the live screen, a model's question and the panels write to a terminal."""
    blocked = spoil(BLOCKED, string)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    with Terminal(24, 80) as terminal:
        with open_renderer("live", stdout=io.StringIO(), stderr=terminal.file) as renderer:
            for event in events:
                renderer.show(event)
        console = Console(file=terminal.file, markup=False, highlight=False, emoji=False)
        console.print(draw_panel(blocked, now, UTC, 30.0, 80))
        console.print(draw_wait(blocked, blocked.options[0], now, 60.0, now, UTC, 80))
        asked = AtTerminal(
            open_renderer("plain", stdout=io.StringIO(), stderr=terminal.file),
            SystemClock(),
            Path(f"/nowhere/{string}".replace("\0", "")),
            60.0,
            f"autoroute resume {string}",
            stdin=io.StringIO(),
            stderr=terminal.file,
        )
        asked.answer(Question(Phase.SPEC, string, (string, "no")))
    yield terminal.written.decode("utf-8", "replace")


def control(strings: list[str]) -> int:
    """Return how many of the strings reach the terminal through Rich alone."""
    through = 0
    for string in strings:
        out = io.StringIO()
        Console(file=out, force_terminal=True, width=80).print(Text(string))
        through += bool(residue(out.getvalue()))
    return through


def main(count: int, seed: int) -> int:
    """Show all strings; return the exit code."""
    began, writes, leaks = time.monotonic(), 0, []
    strings = list(islice(hostile_strings(seed), count))
    for string in strings:
        events = tuple(spoil(event, string) for event in RUN)
        written = [shown_by_stream(format, events) for format in ("plain", "jsonl")]
        written += shown_on_terminal(string, events)
        writes += len(written) * len(events)
        leaks += [(string, left) for text in written if (left := residue(text))]
    assert any(isinstance(event, RunEnded) for event in RUN)
    through = control(strings)
    print(f"seed {seed}: {count} strings in every text of {len(RUN)} events, {writes} events shown")
    print(f"control: {through} of {count} get through Rich alone")
    print(f"through ours: {len(leaks)}; {time.monotonic() - began:.1f} s")
    for string, left in leaks[:10]:
        print(f"  {string[:60]!a}: {left!a}")
    return 1 if leaks or through < count // 2 else 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [500, 1][len(given) :])))

"""How a run ended, on standard output: the verdict, the branch, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from autoroute.events import Delivered, Event, RunEnded, RunStarted, TurnEnded
from autoroute.render.clean import clean


@dataclass(slots=True)
class Result:
    """Collects what the last lines need; ``add`` every event."""

    stdout: TextIO
    run: str = ""
    branch: str = ""
    commits: int = 0
    cost: float | None = 0.0

    def add(self, event: Event) -> None:
        """Take an event into account; the last one prints the result."""
        match event:
            case RunStarted():
                self.run = event.run
            case Delivered():
                self.branch, self.commits = event.branch, event.commits
            case TurnEnded():
                self.cost = None if self.cost is None or event.cost is None else self.cost + event.cost
            case RunEnded():
                self.stdout.write("".join(f"{line}\n" for line in self._lines(event)))
                self.stdout.flush()

    def _lines(self, event: RunEnded) -> list[str]:
        lines = [f"{event.outcome}: {clean(event.message)}"]
        if self.cost:
            lines.append(f"cost ${self.cost:.4f}")
        if self.branch:
            commits = f"{self.commits} commit{'s' if self.commits != 1 else ''}"
            lines.append(f"branch {clean(self.branch)}, {commits}")
            verbs = ("show", "diff", "merge") if event.outcome == "approved" else ("show", "diff")
            lines += [f"  autoroute {verb} {clean(self.run)}" for verb in verbs]
        elif self.run:
            lines.append(f"  autoroute show {clean(self.run)}")
        return lines

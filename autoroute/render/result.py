"""How a run ended, on standard output: the verdict, the branch, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TextIO

from autoroute.events import Event, Published, RunEnded, RunResumed, RunStarted, TurnEnded
from autoroute.render.clean import clean, clean_line

_LONGEST_PATH = 500


@dataclass(slots=True)
class Result:
    """Collects what the last lines need; ``add`` every event."""

    stdout: TextIO
    run: str = ""
    branch: str = ""
    commits: int = 0
    auto_executed: Mapping[str, str] = field(default_factory=dict)
    cost: float | None = 0.0
    resumed: bool = False

    def add(self, event: Event) -> None:
        """Take an event into account; the last one prints the result."""
        match event:
            case RunStarted() | RunResumed():
                self.run = event.run
                self.resumed = isinstance(event, RunResumed)
            case Published():
                self.branch, self.commits = event.branch, event.commits
                self.auto_executed = event.auto_executed
            case TurnEnded():
                self.cost = None if self.cost is None or event.cost is None else self.cost + event.cost
            case RunEnded():
                self.stdout.write("".join(f"{line}\n" for line in self._lines(event)))
                self.stdout.flush()

    def _lines(self, event: RunEnded) -> list[str]:
        is_verdict = event.outcome in ("approved", "rejected", "waiting")
        # The message of an error says itself that the run stopped.
        lines = [f"{event.outcome}: {clean(event.message)}" if is_verdict else clean(event.message)]
        if self.cost:
            lines.append(f"cost ${self.cost:.4f}{' since it was resumed' if self.resumed else ''}")
        if self.branch:
            commits = f"{self.commits} commit{'s' if self.commits != 1 else ''}"
            lines.append(f"branch {clean(self.branch)}, {commits}")
        if self.auto_executed:
            lines += ["runs by itself once it is merged or checked out:"]
            lines += [f"  {clean_line(path, _LONGEST_PATH)} ({clean(why)})" for path, why in self.auto_executed.items()]
        if event.resume:
            lines.append(f"  {clean(event.resume)}")
        if self.run:
            lines += [f"  autoroute {verb} {clean(self.run)}" for verb in self._verbs(event)]
        return lines

    def _verbs(self, event: RunEnded) -> Iterator[str]:
        """The commands that make sense now, the likeliest first."""
        yield "show"
        if self.branch:
            yield "diff"
            if event.outcome == "approved":
                yield "merge"

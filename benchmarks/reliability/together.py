"""Eight runs at once in one repository, half of them killed: does each reach its own end?

python benchmarks/reliability/together.py [ROUNDS] [SEED]

In each round eight runs start at once; half of them are killed somewhere and resumed at once. Their commits enter the
repository in parallel.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from forked import RESUME, RUN, Passed, Place, Worker, share
from kills import killed_at, point, uncut

from autoroute.events import RunEnded, RunStarted
from autoroute.store.journal import read_events
from autoroute.workspace.git import users_git

_AT_ONCE = 8


@dataclass(frozen=True)
class Round:
    """How many runs were started and killed, and what is wrong with them."""

    runs: int
    killed: int
    refused: int
    """Attempts to take up a run that another process was at."""
    complaints: tuple[str, ...]


def work(worker: Worker, seeds: Sequence[int]) -> Iterator[Round]:
    """Yield the rounds of one worker."""
    reference, _, passed = uncut(worker)
    for seed in seeds:
        chance = random.Random(seed)
        with worker.place() as place:
            before = place.fingerprint()
            kills = [chance.random() if number % 2 else 0.0 for number in range(_AT_ONCE)]
            last = [point(passed.points, "", kill) if kill else 0 for kill in kills]
            begun = [place.start(RUN, partial(killed_at, at)) for at in last]
            codes = [finish().code for finish in begun]
            runs = sorted(path.parent.name for path in place.project.glob(".autoroute/runs/*/events.jsonl"))
            # Two processes resume each run at the same time: one of them is refused, or finds it approved.
            resumed = [(run, place.start((RESUME[0], run, *RESUME[1:]))) for run in runs for _ in range(2)]
            ended = [(run, finish()) for run, finish in resumed]
            refused = sum("is already running in process" in end.output for _, end in ended)
            found = [*_against(place, runs, reference.commits), *_bugs(ended)]
            if place.fingerprint() != before:
                found.append("the user's repository was changed")
            worker.wait_for_leftovers()
        yield Round(len(runs), sum(code < 0 for code in codes), refused, tuple(found))


def _against(place: Place, runs: Sequence[str], commits: Sequence[str]) -> list[str]:
    """Return what is wrong with these runs."""
    git, found = users_git(place.project, place.environ), []
    if complaint := git.text("fsck", "--no-dangling", "--no-progress"):
        found.append(f"git fsck: {complaint}")
    for run in runs:
        events = read_events(place.project / ".autoroute/runs" / run / "events.jsonl")
        if not any(isinstance(event, RunStarted) for event in events):
            continue  # killed before it started
        last = events[-1]
        if not isinstance(last, RunEnded) or last.outcome != "approved":
            found.append(f"{run} ends with {last}")
        elif tuple(git.text("log", "--reverse", "--format=%s %T", f"main..autoroute/{run}").splitlines()) != commits:
            found.append(f"{run} has other commits")
    return found


def _bugs(ended: Sequence[tuple[str, Passed]]) -> list[str]:
    return [
        f"{run}: {end.output[-600:]}" for run, end in ended if "a bug in" in end.output or "Traceback" in end.output
    ]


def main() -> int:
    """Print the findings; return 1 if any run broke a promise."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    started = time.monotonic()
    # One worker: its eight runs are the parallel part.
    found = share(work, [seed + number for number in range(rounds)], at_once=1)
    bad = [complaint for one in found for complaint in one.complaints]
    figures = {
        "runs, eight at once in one repository": sum(one.runs for one in found),
        "  killed on their way": sum(one.killed for one in found),
        "resumptions refused, another being at it": sum(one.refused for one in found),
        "runs that did not come to their own end": len(bad),
        "took (s)": round(time.monotonic() - started),
    }
    print(f"seed {seed}: {rounds} rounds")
    for words, figure in figures.items():
        print(f"{words:<46}{figure:>6}")
    for complaint in bad:
        print(complaint)
    return 1 if bad or not any(one.refused for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())

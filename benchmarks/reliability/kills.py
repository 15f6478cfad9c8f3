"""kill -9 at exact points of a run: does every run resume to the same end, with nothing paid or done twice?

python benchmarks/reliability/kills.py [HOW_MANY] [SEED]

The points are spread evenly over a whole run, and again over its journal's writes, its git calls and its commands:
before writes, syncs, renames, starts of processes, checks of running processes, bytes to and from the provider. Every
second kill includes the child processes, as the end of a container does; the others leave them running, as a crash
does. Every fourth run is killed once more while it resumes. Each run is then compared with one that was not killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from forked import RESUME, ROOMS, RUN, Ended, Passed, Place, Points, Worker, share

_RESUMES = 5


@dataclass(frozen=True)
class Kill:
    """A kill at a part (0 to 1) of the points of a package, and at ``again`` while resuming (0: not).

    ``whole`` includes the child processes.
    """

    room: str
    at: float
    whole: bool
    again: float = 0.0


@dataclass(frozen=True)
class Met:
    """The outcome of a kill."""

    kill: Kill
    began: bool
    seconds: float
    """From the start of the last resumption to the end of the run."""
    complaints: tuple[str, ...]
    paid_again: int
    not_run_again: int
    output: str = ""


def die() -> None:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(point: int, room: str = "") -> Points:
    """Return points at one of which the process is killed."""
    return Points(die, point, room)


def killed_in_first_call(place: Place) -> Points:
    """Return points at which the process is killed while the first command of a model runs."""

    def die_if_started() -> None:
        journal = place.journal
        if journal and b'"tool_started"' in journal.read_bytes().splitlines()[-1]:
            die()

    return Points(die_if_started, None, "commands:wait")


def point(points: Mapping[str, int], within: str, part: float) -> int:
    """Return the number of the point, from 1."""
    return 1 + int(part * points[within])


def uncut(worker: Worker) -> tuple[Ended, str, Passed]:
    """Return the outcome of a run that is not killed, and the fingerprint of the repository before it."""
    with worker.place() as place:
        before = place.fingerprint()
        passed = place.run(RUN, Points)
        ended = place.look(worker.answered())
    if passed.code != 0 or ended.fingerprint != before:
        raise SystemExit(f"an uncut run ends with {passed.code}:\n{passed.output}")
    return ended, before, passed


def go_on(place: Place) -> Passed:
    """Resume the run, or start it if it had not started."""
    if place.journal:
        passed = place.run(RESUME)
        if "stopped before its first event" not in passed.output:
            return passed
    return place.run(RUN)


def meet(worker: Worker, reference: Ended, points: Mapping[str, int], kill: Kill) -> Met:
    """Kill a run, resume it, and compare its outcome with the reference."""
    with worker.place() as place:
        place.run(RUN, partial(killed_at, point(points, kill.room, kill.at), kill.room))
        began = bool(place.events())
        if kill.whole:
            worker.kill_leftovers()
        if kill.again and began:
            place.run(RESUME, partial(killed_at, point(points, "", kill.again)))
            if kill.whole:
                worker.kill_leftovers()
        passed = go_on(place)
        gone = worker.wait_for_leftovers()
        answered = worker.answered()
        found = [f"exit code {passed.code}"] if passed.code != 0 else complaints(place.look(answered), reference)
        ended = place.look(answered) if passed.code == 0 else reference
    return Met(
        kill=kill,
        began=began,
        seconds=passed.seconds,
        complaints=(*found, *(() if gone else ("something was left running",))),
        paid_again=max(0, answered - reference.answered),
        not_run_again=ended.not_run_again,
        output=passed.output[-1_500:] if found else "",
    )


def complaints(ended: Ended, reference: Ended) -> list[str]:
    """Return what is wrong with a run that was killed."""
    # An interrupted command is not run again: it left its mark once or not at all.
    marks, cuts = dict(ended.effects), ended.not_run_again
    missing = [mark for mark, _ in reference.effects if mark not in marks]
    found = {
        f"{ended.turns} turns on record, not {reference.turns}": ended.turns != reference.turns,
        f"{ended.calls_twice} calls are on record twice": ended.calls_twice > 0,
        f"side effects doubled: {marks}": any(count > 1 for count in marks.values()),
        f"side effects missing: {', '.join(missing)}": len(missing) > cuts,
        "other commits": ended.commits != reference.commits,
        "the user's repository was changed": ended.fingerprint != reference.fingerprint,
        f"git fsck: {ended.complaints}": bool(ended.complaints),
    }
    return [words for words, true in found.items() if true]


def work(worker: Worker, cases: Sequence[Kill | None]) -> Iterator[Met | Passed | bool]:
    """Yield the reference run and the outcome of each kill of one worker; None is the control."""
    reference, _, passed = uncut(worker)
    yield passed
    for kill in cases:
        if kill is None:
            yield doubles(worker)
            continue
        met = meet(worker, reference, passed.points, kill)
        allowed = 1 + bool(kill.again)
        if met.paid_again > allowed:
            met = replace(met, complaints=(*met.complaints, f"{met.paid_again} turns were paid again"))
        yield met


def doubles(worker: Worker) -> bool:
    """Return whether a command runs twice if its start was not recorded before the kill (the control)."""
    with worker.place() as place:
        place.run((*RUN, "--sandbox", "off"), partial(killed_in_first_call, place))
        worker.wait_for_leftovers()
        journal = place.journal
        if journal is None:
            return False
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:-1]))
        passed = place.run(RESUME)
        ended = place.look(worker.answered())
    return b'"tool_started"' in lines[-1] and passed.code == 0 and any(count > 1 for _, count in ended.effects)


def sweep(many: int, seed: int) -> list[Kill]:
    """Return the kills: half of them spread over all points of a run, the others over those of each package."""
    chance, kills = random.Random(seed), []
    for room in ("", *ROOMS):
        number_of = many // 2 // len(ROOMS) if room else many - many // 2 // len(ROOMS) * len(ROOMS)
        for number in range(number_of):
            again = chance.random() if number % 4 == 3 else 0.0
            kills.append(Kill(room, (number + chance.random()) / number_of, whole=number % 2 == 0, again=again))
    chance.shuffle(kills)
    return kills


def main() -> int:
    """Print the findings; return 1 if any run broke a promise."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    started = time.monotonic()
    found = share(work, [*sweep(many, seed), None], at_once=2 if many > 50 else 1)
    met = [one for one in found if isinstance(one, Met)]
    passed = next(one for one in found if isinstance(one, Passed))
    doubled = any(one is True for one in found)
    bad = [one for one in met if one.complaints]
    rooms = ", ".join(f"{passed.points[room]} in {room}" for room in ROOMS)
    print(f"seed {seed}: an uncut run takes {passed.seconds:.1f} s and has {passed.points['']} points, of them {rooms}")
    rows: dict[str, float] = {
        "kill points": len(met),
        **{f"  aimed at {room}": sum(one.kill.room == room for one in met) for room in ROOMS},
        "  with all that it had started": sum(one.kill.whole for one in met),
        "  killed again as they went on": sum(bool(one.kill.again) for one in met),
        "  before the run had begun": sum(not one.began for one in met),
        "came to the same end": len(met) - len(bad),
        "turns in flight that were paid again": sum(one.paid_again for one in met),
        "commands cut off, and not run again": sum(one.not_run_again for one in met),
        "longest way from resume to the end (s)": round(max(one.seconds for one in met), 1),
        "took (s)": round(time.monotonic() - started),
    }
    for words, figure in rows.items():
        print(f"{words:<46}{figure:>6}")
    for one in bad:
        print(f"\n{one.kill}: {'; '.join(one.complaints)}\n{one.output}")
    print(f"control: a command whose start is not recorded {'ran twice' if doubled else 'DID NOT RUN TWICE'}")
    return 1 if bad or not doubled else 0


if __name__ == "__main__":
    sys.exit(main())

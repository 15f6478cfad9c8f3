"""Try to escape from every backend of this machine, as every available user, and print what succeeded.

python -m benchmarks.reliability.escapes [COUNT] [SEED]

With COUNT, that many attempts are drawn evenly from the groups and played as the current user only. Exit code 1:
something succeeded that ``residue.py`` does not list, the control without a sandbox is blind, or harmless work fails.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import random
import secrets
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from .attempts import every_attempt
from .backends import BACKENDS, OFF, BackendName, NotHere
from .residue import class_of
from .session import Session
from .snippet import GROUPS, Attempt, Ended
from .world import KEY, Grounds, World, clear

_ENOUGH = 0.65
"""Of the attempts that apply, this share must succeed without a sandbox."""
_ORDINARY = 1001
_PARENT_DEATH_SIGNAL, _DUMPABLE = 1, 4


@dataclass(frozen=True, slots=True)
class Came:
    """The outcome of a backend for a user: ``absent`` is why it was not tried, ``broken`` the failed harmless work."""

    layer: str
    user: str
    ended: tuple[Ended, ...] = ()
    absent: str = ""
    broken: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"{self.layer}, {self.user}"


@dataclass(frozen=True, slots=True)
class Running:
    """A running session: the process that plays it, its folders, and the file with its outcomes."""

    layer: BackendName
    user: int
    child: int
    grounds: Grounds
    results: Path
    started: float

    def wait(self) -> Came:
        """Wait for the session to end, delete its world, and return its outcome."""
        try:
            _, status = os.waitpid(self.child, 0)
            seconds = time.monotonic() - self.started
            lines = [json.loads(line) for line in self.results.read_text().splitlines()]
        finally:
            clear(self.grounds)
            self.results.unlink()
        name = "root" if self.user == 0 else "a user"
        if status or not lines:
            return Came(self.layer, name, broken=("the session died",))
        head, *rest = lines
        ended = tuple(Ended(line["attempt"], tuple(line["evidence"]), line["output"], line["seconds"]) for line in rest)
        return Came(self.layer, name, ended, head["absent"], tuple(head["broken"]), seconds)


def attack(layer: BackendName, user: int, attempts: Sequence[Attempt]) -> Running:
    """Start playing the attempts in a new process, as ``user``, in a new world."""
    grounds, mark = _make_grounds(user)
    handle, results = tempfile.mkstemp(prefix="escapes-results-")
    started = time.monotonic()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
            ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
            with os.fdopen(handle, "w") as file:
                _play(layer, user, attempts, grounds, mark, file)
            code = 0
        except BaseException:  # noqa: BLE001 - a forked child must not raise
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(handle)
    return Running(layer, user, child, grounds, Path(results), started)


def _make_grounds(user: int) -> tuple[Grounds, str]:
    """Create the folders of a world, outside ``/tmp`` if possible, because backends mount their own ``/tmp``."""
    mark = f"{secrets.randbelow(10**6):06d}"
    beside = Path(__file__).anchor + "srv"
    where = beside if os.access(beside, os.W_OK) else tempfile.gettempdir()
    base = Path(tempfile.mkdtemp(prefix="escapes-", dir=where))
    grounds = Grounds(base, Path(tempfile.gettempdir(), f"escapes-{mark}"), Path(f"/dev/shm/escapes-{mark}"))
    for folder in (grounds.shared, grounds.memory):
        folder.mkdir(mode=0o755)
    for folder in (grounds.base, grounds.shared, grounds.memory):
        folder.chmod(0o755)
        os.chown(folder, user, user)
    return grounds, mark


def _play(
    layer: BackendName, user: int, attempts: Sequence[Attempt], grounds: Grounds, mark: str, results: TextIO
) -> None:
    if user != os.geteuid():
        # Our Python may be in root's home: lazy modules are loaded now, while they can be read.
        for encoding in ("ascii", "latin-1", "idna"):
            codecs.lookup(encoding)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        # A process of the user, as a shell would have started it.
        ctypes.CDLL(None).prctl(_DUMPABLE, 1, 0, 0, 0)
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if not os.access(sys.executable, os.X_OK):
            sys.executable = "/usr/bin/python3"
    world = World(grounds, mark, os.environ[KEY])
    try:
        session = Session.open(world, layer)
        broken = session.complaints()
        print(json.dumps({"absent": "", "broken": broken}), file=results)
        for ended in session.play(attempts):
            print(json.dumps(asdict(ended)), file=results)
    except NotHere as reason:
        print(json.dumps({"absent": str(reason), "broken": []}), file=results)
    finally:
        world.close()


def draw(count: int, seed: int) -> list[Attempt]:
    """Return ``count`` attempts, drawn evenly from the groups; all of them for 0."""
    everything = every_attempt()
    if not count:
        return list(everything)
    chance = random.Random(seed)
    heaps = [[attempt for attempt in everything if attempt.group == group] for group in GROUPS]
    for heap in heaps:
        chance.shuffle(heap)
    turns = [heap.pop() for _ in range(len(everything)) for heap in heaps if heap]
    return turns[:count]


def report(attempts: Sequence[Attempt], all_came: Sequence[Came]) -> Iterator[str]:
    """Yield the table, then what succeeded on each backend."""
    by_id = {attempt.id: attempt for attempt in attempts}
    tried = [came for came in all_came if not came.absent]
    yield f"{'':12}{'attempts':>9}" + "".join(f"{came.name:>21}" for came in tried)
    for group in (*GROUPS, "all"):
        in_group = [attempt for attempt in attempts if group in (attempt.group, "all")]
        cells = [
            sum(bool(ended.evidence) and group in (by_id[ended.attempt].group, "all") for ended in came.ended)
            for came in tried
        ]
        yield f"{group:12}{len(in_group):>9}" + "".join(f"{cell:>21}" for cell in cells)
    yield f"{'seconds':12}{'':>9}" + "".join(f"{came.seconds:>21.0f}" for came in tried)
    for came in all_came:
        if came.absent:
            yield f"{came.name}: NOT RUN: {came.absent}"
            continue
        yield from (f"{came.name}: {words}" for words in came.broken)
        if came.layer != OFF:
            yield from _successes(came, by_id)


def _successes(came: Came, by_id: dict[str, Attempt]) -> Iterator[str]:
    classes: dict[str, list[str]] = {}
    for ended in came.ended:
        if ended.evidence:
            attempt = by_id[ended.attempt]
            known = class_of(came.layer, f"{attempt.group}/{attempt.snippet}")
            name = f"{known.name} ({known.reason})" if known else "NOT ON RECORD"
            classes.setdefault(name, []).append(f"{ended.attempt}: {'; '.join(ended.evidence)}")
    for name, ids in sorted(classes.items()):
        yield f"{came.name}: {len(ids)} through, {name}"
        yield from (f"    {line}" for line in ids)


def broken_promises(attempts: Sequence[Attempt], all_came: Sequence[Came]) -> Iterator[str]:
    """Yield the reasons for exit code 1."""
    by_id = {attempt.id: attempt for attempt in attempts}
    for came in all_came:
        yield from (f"{came.name}: {words.splitlines()[0]}" for words in came.broken)
        if came.absent or not came.ended:
            continue
        if came.layer == OFF:
            apply = [ended for ended in came.ended if came.user == "root" or not by_id[ended.attempt].root]
            share = sum(bool(ended.evidence) for ended in apply) / len(apply)
            yield from (f"{came.name}: blind, only {share:.0%} succeed",) if share < _ENOUGH else ()
            continue
        for ended in came.ended:
            attempt = by_id[ended.attempt]
            if ended.evidence and not class_of(came.layer, f"{attempt.group}/{attempt.snippet}"):
                yield f"{came.name}: {ended.attempt} succeeded: {'; '.join(ended.evidence)}"


def main() -> int:
    """Print the findings; return 1 if a promise is broken."""
    if KEY not in os.environ:
        # The key must be in the initial environment of this process: that is what other processes can read.
        key = f"CANARY-exported-{secrets.token_hex(8)}"
        os.execve(sys.executable, [*sys.orig_argv[:1], *sys.orig_argv[1:]], {**os.environ, KEY: key})
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    attempts = draw(count, seed)
    users = (0, _ORDINARY) if os.geteuid() == 0 and not count else (os.geteuid(),)
    all_came = []
    for layer in BACKENDS:
        running = [attack(layer, user, attempts) for user in users]
        all_came += [session.wait() for session in running]
    print(f"{len(attempts)} attempts" + (f", seed {seed}" if count else ""))
    for line in report(attempts, all_came):
        print(line)
    broken = [*broken_promises(attempts, all_came)]
    for line in broken:
        print(f"BROKEN: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

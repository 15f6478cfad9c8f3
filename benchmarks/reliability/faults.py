"""Full disks, failing disks and missing handles at exact points of a run: does it stop with a message, and resume?

python benchmarks/reliability/faults.py [HOW_MANY] [SEED]

In two thirds of the cases one call fails with one error: a write, a sync, a rename, an open, a new folder, the start of
a process. The other faults last from a point on: a full file system (as root, a small one of its own), files that
cannot grow, no free file handle. When the fault is over, the run is resumed and compared with a run without a fault.
"""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from forked import RUN, Ended, Passed, Place, Points, Worker, share
from kills import complaints, go_on, point, uncut

from autoroute.errors import ExitCode

_DISK = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
STRUCK: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("write", "sync", "rename", "mkdir"), _DISK),
    "open": (*_DISK, errno.EMFILE),
    "start": (errno.EMFILE, errno.ENOMEM),
}
"""The calls that fail once, and the errors that they fail with."""
LASTING = ("full disk", "no growth", "no handles")
_DISK_SIZE = 64 * 1024 * 1024
_FILLER = "filler"
DOCUMENTED = frozenset(ExitCode) - {ExitCode.INTERNAL, ExitCode.USAGE}


@dataclass(frozen=True)
class Case:
    """A fault at a part (0 to 1) of the points of its kind. ``error`` is for one call; ``slack`` bytes stay free."""

    kind: str
    at: float
    error: int = 0
    slack: int = 0


@dataclass(frozen=True)
class Met:
    """The outcome of a fault."""

    case: Case
    code: int
    complaints: tuple[str, ...]
    output: str


def prepare(case: Case, points: Mapping[str, int], place: Place) -> Points:
    """Return the points of a process in which the fault happens."""
    if case.kind in STRUCK:
        return Points(partial(_raise, case.error), point(points, case.kind, case.at), case.kind)
    strikes: dict[str, Callable[[], None]] = {
        "full disk": partial(_fill, place.folder.parent / _FILLER, case.slack),
        "no growth": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (case.slack, resource.RLIM_INFINITY)),
        "no handles": lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())), 4096)
        ),
    }
    return Points(strikes[case.kind], point(points, "", case.at))


def _raise(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def _fill(filler: Path, slack: int) -> None:
    """Fill the file system except for some bytes."""
    facts = os.statvfs(filler.parent)
    free = facts.f_bavail * facts.f_frsize
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    with suppress(OSError):
        os.posix_fallocate(handle, 0, max(free - slack, 1))
    os.close(handle)


def meet(worker: Worker, root: Path | None, reference: Ended, points: Mapping[str, int], case: Case) -> Met:
    """Run with a fault, resume without it, and compare the outcome with the reference."""
    with worker.place(root if case.kind == "full disk" else None) as place:
        passed = place.run(RUN, partial(prepare, case, points, place))
        (place.folder.parent / _FILLER).unlink(missing_ok=True)
        found = _words_against(passed.code, passed.output)
        if passed.code != 0:
            passed_on = go_on(place)
            found += _words_against(passed_on.code, passed_on.output)
            if passed_on.code != 0:
                found.append(f"resume ends with {passed_on.code}:\n{passed_on.output[-800:]}")
        if not found:
            ended = place.look(worker.answered())
            found = complaints(ended, reference)
            # A command whose end was not recorded is not run again, and one that could not start leaves no mark.
            found = [words for words in found if not words.startswith("side effects missing") or passed.code == 0]
    return Met(case, passed.code, tuple(found), passed.output[-1_200:])


def _words_against(code: int, output: str) -> list[str]:
    """Return what is wrong with the output for a person who reads it."""
    found = {
        f"exit code {code} is not documented": code not in DOCUMENTED,
        "a traceback": "Traceback" in output,
        "called a bug": "a bug in autoroute" in output,
    }
    return [words for words, true in found.items() if true]


def work(worker: Worker, cases: Sequence[Case]) -> Iterator[Met | Passed]:
    """Yield the outcome of the run without a fault, then those of the faults of one worker."""
    reference, _, passed = uncut(worker)
    yield passed
    with small_disk() as root:
        for case in cases:
            if case.kind != "full disk" or root:
                yield meet(worker, root, reference, passed.points, case)


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a small file system and yield it; None if mounting is not allowed."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_SIZE}", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=False)


def sweep(many: int, seed: int) -> list[Case]:
    """Return the cases, spread evenly over the points of each kind."""
    chance, cases = random.Random(seed), []
    for kind in (*STRUCK, *LASTING):
        number_of = many * 2 // 3 // len(STRUCK) if kind in STRUCK else many // 3 // len(LASTING)
        for number in range(number_of):
            error = chance.choice(STRUCK[kind]) if kind in STRUCK else 0
            slack = chance.choice((0, 4096, 16_384, 65_536))
            cases.append(Case(kind, (number + chance.random()) / number_of, error, slack))
    chance.shuffle(cases)
    return cases


def control() -> int:
    """Return how many of 200 records a journal loses that continues after a failed write and reads what it can."""
    code = """if True:
        import json, resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for number in range(200):
            limit = 5000 if 100 <= number < 150 else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            with open(sys.argv[1], "a") as file:
                try:
                    file.write(json.dumps({"number": number, "text": "x" * 40}) + "\\n")
                    file.flush()
                except OSError:
                    file.buffer.raw.close()
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "naive.jsonl"
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False)
        found = 0
        for line in path.read_text("utf-8").splitlines():
            with suppress(ValueError):
                found += "number" in json.loads(line)
    return 200 - found


def main() -> int:
    """Print the findings; return 1 if any run broke a promise."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 504
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    started = time.monotonic()
    found = share(work, sweep(many, seed), at_once=2 if many > 50 else 1)
    met = [one for one in found if isinstance(one, Met)]
    points = next(one.points for one in found if isinstance(one, Passed))
    bad = [one for one in met if one.complaints]
    print(f"seed {seed}: {len(met)} faults")
    print(f"{'fault':<14}{'points':>8}{'runs':>6}{'stopped':>9}{'went on':>9}{'bad':>5}   exit codes")
    for kind in (*STRUCK, *LASTING):
        of_kind = [one for one in met if one.case.kind == kind]
        codes = ", ".join(f"{code}: {times}" for code, times in sorted(Counter(one.code for one in of_kind).items()))
        stopped = sum(one.code != 0 for one in of_kind)
        print(
            f"{kind:<14}{points[kind if kind in STRUCK else '']:>8}{len(of_kind):>6}{stopped:>9}"
            f"{len(of_kind) - stopped:>9}{sum(one.case.kind == kind for one in bad):>5}   {codes or 'NOT RUN'}"
        )
    print(f"tracebacks, undocumented exit codes, runs that do not resume to the same end: {len(bad)}")
    print(f"took {time.monotonic() - started:.0f} s")
    for one in bad:
        print(f"\n{one.case}: {'; '.join(one.complaints)}\n{one.output}")
    lost = control()
    print(f"control: a journal that continues after such a fault loses {lost} of 200 records")
    return 1 if bad or not lost or not met else 0


if __name__ == "__main__":
    sys.exit(main())

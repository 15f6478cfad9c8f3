"""Paths, races and edits against the file tools: does anything leave the tree, and is every other byte kept?

python benchmarks/reliability/files.py [COUNT] [SEED]
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autoroute.messages import ToolCall
from autoroute.tools import ToolContext, open_toolbox
from autoroute.tools.edit_match import find_exact, find_nearest_passage, find_tolerant, line_number
from autoroute.tools.file_list import list_files
from autoroute.tools.line_search import search_lines
from autoroute.tools.tool import ToolError
from autoroute.workspace.beneath import OpenBeneath, open_by_component, open_with_openat2, select_open_beneath
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import FileRefused, PathPolicy

CANARY = "canary-of-the-outside"
CONTROL_SECONDS = 60
_HERE = -100
_EXCHANGE = 2
WAYS: dict[str, OpenBeneath] = {"the kernel": open_with_openat2, "name by name": open_by_component}


class Report:
    """The printed figures, and whether a promise was broken."""

    def __init__(self) -> None:
        self.broken = 0

    def say(self, subject: str, figures: str, *, broken: int = 0, blind: bool = False) -> None:
        """Print one line; ``broken`` cases and a ``blind`` control make the benchmark fail."""
        self.broken += broken + blind
        print(f"{subject:<36} {figures}{'  BROKEN' * bool(broken)}{'  BLIND' * blind}", flush=True)


class Span:
    """A project beside a folder with canaries, and everything that a model could plant to reach it."""

    def __init__(self, folder: Path) -> None:
        self.outside, self.root = folder / "outside", folder / "project"
        for path in (self.outside / name for name in ("a.txt", "key", CANARY, "deep/a.txt")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(CANARY)
        for path in (self.root / "a.txt", self.root / "src/a.txt", self.root / ".git/config"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("inside")
        for name, target in {
            "link": "../outside",
            "file": "../outside/a.txt",
            "whole": str(self.outside),
            "up": "..",
            "above": str(folder),
            "loop": "loop",
            "chain": "link/deep",
            "magic": f"/proc/self/root{self.outside}",
            "self": f"/proc/{os.getpid()}/root{folder}",
        }.items():
            (self.root / name).symlink_to(target)
            (self.root / "src" / name).symlink_to(f"../{target}" if target.startswith("..") else target)
        os.link(self.outside / "a.txt", self.root / "hard")
        os.mkfifo(self.root / "pipe")

    def files(self, open_beneath: OpenBeneath) -> Files:
        """Return the project's files."""
        return Files(PathPolicy(self.root), open_beneath)

    def look_outside(self) -> list[tuple[str, int, int, bytes]]:
        """Return everything outside the project, and git's own folder: names, modes, times, bytes."""
        found = []
        for path in sorted((*self.outside.rglob("*"), *(self.root / ".git").rglob("*"), self.outside.parent)):
            facts = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
            found.append((str(path), facts.st_mode, facts.st_mtime_ns, data))
        return found


def ways() -> dict[str, OpenBeneath]:
    """Return the ways to open files beneath a folder that this machine supports."""
    return {name: way for name, way in WAYS.items() if way in (open_by_component, select_open_beneath())}


def some_path(chance: random.Random, place: Span) -> str:
    """Return a path that tries to leave the tree, or one that does not."""
    names = [
        "..",
        ".",
        "",
        "src",
        "a.txt",
        "a.txt",
        "a.txt",
        "deep",
        "outside",
        "link",
        "file",
        "whole",
        "up",
        "above",
        "chain",
        "magic",
    ]
    names += ["self", "hard", "pipe", "loop", ".git", ".GIT", "config", "new", "project", "key"]
    starts = ["", "", "", f"{place.root}/", f"{place.outside}/", f"/proc/self/root{place.outside}/", "../"]
    parts = chance.choices(names, k=chance.choice([1, 1, 2, 2, 3, 4, 5]))
    if chance.random() < 0.2:
        text = "".join(chr(chance.choice([chance.randrange(128), chance.randrange(0x3000), 0x200C])) for _ in range(4))
        parts.insert(chance.randrange(len(parts) + 1), text)
    return chance.choice(starts) + "/".join(parts)


def try_paths(report: Report, folder: Path, count: int, chance: random.Random) -> None:
    """Try every path with every action, and with a plain ``open`` for comparison."""
    place = Span(folder)
    before = place.look_outside()
    every = [place.files(way) for way in ways().values()]
    ended: Counter[str] = Counter()
    for number in range(count):
        path, files = some_path(chance, place), every[number % len(every)]
        acts: list[Callable[[], object]] = [lambda: files.read(path), lambda: files.entries(path)]  # noqa: B023
        acts += [lambda: files.write(path, b"x"), lambda: files.size(path), lambda: files.exists(path)]  # noqa: B023
        try:
            result = str(chance.choice(acts)())
        except (FileRefused, OSError) as error:
            ended[type(error).__name__ if isinstance(error, FileRefused) else "OSError"] += 1
        else:
            ended["read outside" if CANARY in result else "done"] += 1
        ended["control"] += _plain_open_escapes(place, path)
    changed = place.look_outside() != before
    report.say(
        f"{count:,} paths",
        f"{ended['read outside']} read outside, {int(changed)} changed outside; {ended['done']:,} done, "
        f"{ended['FileRefused']:,} refused, {ended['OSError']:,} not there",
        broken=ended["read outside"] + changed,
    )
    report.say("  control: plain open", f"{ended['control']:,} read outside", blind=not ended["control"])


def _plain_open_escapes(place: Span, path: str) -> bool:
    try:
        handle = os.open(os.path.join(place.root, path), os.O_RDONLY | os.O_NONBLOCK)  # noqa: PTH118 - what is naive
    except (OSError, ValueError):
        return False
    try:
        return CANARY.encode() in os.read(handle, 100)
    except OSError:
        return False
    finally:
        os.close(handle)


@contextmanager
def swapping(place: Span) -> Iterator[None]:
    """Run a process that keeps exchanging the folder ``way`` with a link to the outside, each in one step."""
    (place.root / "way").mkdir()
    (place.root / "way/a.txt").write_text("inside")
    (place.root / "trap").symlink_to(place.outside)
    exchange = ctypes.CDLL(None).renameat2
    arguments = (_HERE, bytes(place.root / "way"), _HERE, bytes(place.root / "trap"), _EXCHANGE)
    process = os.fork()
    if process == 0:
        while exchange(*arguments) == 0:
            pass
        os._exit(1)
    try:
        yield
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def race(report: Report, folder: Path, count: int) -> None:
    """Read, write and list in a folder that is a link every other moment."""
    place = Span(folder)
    before = place.look_outside()
    with swapping(place):
        for name, way in ways().items():
            ended = _race(place, way, count)
            report.say(
                f"{ended.total():,} races, {name}",
                f"{ended['escaped']} escaped; {ended['inside']:,} inside, {ended['refused']:,} refused, "
                f"{ended['gone']:,} not there",
                broken=ended["escaped"],
                blind=not (ended["inside"] and ended["refused"]),
            )
        _race_searches(report, place, max(3, count // 10_000))
        attempts = escaped = 0
        deadline = time.monotonic() + CONTROL_SECONDS
        while (attempts < count // 10 or not escaped) and time.monotonic() < deadline:
            attempts += 1
            escaped += _check_then_open(place)
        report.say("  control: check, then open", f"{escaped:,} of {attempts:,} escaped", blind=not escaped)
    changed = place.look_outside() != before
    report.say("  outside after the races", "changed" if changed else "unchanged", broken=changed)


def _race(place: Span, way: OpenBeneath, count: int) -> Counter[str]:
    files = place.files(way)
    ended: Counter[str] = Counter()
    deadline = time.monotonic() + CONTROL_SECONDS
    while ended.total() < count or (not (ended["refused"] and ended["inside"]) and time.monotonic() < deadline):
        number = ended.total()
        try:
            if number % 50 == 0:
                files.write(f"way/new{number}/b.txt" if number % 100 else "way/b.txt", b"x")
                result = "inside"
            elif number % 50 == 1:
                result = str(files.entries("way"))
            else:
                result = files.read("way/a.txt").decode()
            ended["escaped" if CANARY in result else "inside"] += 1
        except FileRefused:
            ended["refused"] += 1
        except OSError:
            ended["gone"] += 1
    return ended


def _race_searches(report: Report, place: Span, rounds: int) -> None:
    """Check that listing and searching show no name or line of the outside while the link is swapped in."""
    files = place.files(select_open_beneath())
    shown = 0
    for _ in range(rounds):
        shown += any(CANARY in path for path in list_files(files))
        paths = ["way/a.txt", f"way/{CANARY}", "way/deep/a.txt"] * 20
        shown += len(list(search_lines(files, paths, CANARY, ignore_case=False, ripgrep=None)))
    report.say(f"{rounds:,} races of find and grep", f"{shown} names or lines of the outside shown", broken=shown)


def _check_then_open(place: Span) -> bool:
    path = f"{place.root}/way/a.txt"
    try:
        if not os.path.realpath(path).startswith(f"{place.root}/"):
            return False
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.read(handle, 100) == CANARY.encode()
    finally:
        os.close(handle)


ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "latin-1": b"",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
}
WORDS = ["", "a", "  b", "\tc ", "caf\xe9", "\x0c", "d\re", "\x85", "naïve  ", "}", "x = 1"]


def edit_files(report: Report, folder: Path, count: int, chance: random.Random) -> None:
    """Edit files of all encodings and line endings with the tool: nothing except the passage may change."""
    root = folder / "edited"
    root.mkdir()
    context = ToolContext(root, LocalCommands({}), folder, 60.0, lambda *_: "", lambda *_: [])
    toolbox = open_toolbox(("edit",), context)
    ended: Counter[str] = Counter()
    for number in range(count):
        encoding = chance.choice(list(ENCODINGS))
        head, tail = (_body(chance) for _ in range(2))
        mark = ENCODINGS[encoding]
        raw = mark + f"{head}MARK  \r\n{tail}".encode(encoding)
        first, last = mark + head.encode(encoding), tail.encode(encoding.removesuffix("-sig"))
        path, mode = root / f"{number % 100}.txt", chance.choice([0o600, 0o644, 0o755])
        path.write_bytes(raw)
        path.chmod(mode)
        tolerant = chance.random() < 0.5
        new = "".join(chance.choices(["a", "b ", "é", "\n", "\r\n", "MARK", "a", "b ", "→"], k=chance.randint(0, 6)))
        arguments = {"path": path.name, "old": "MARK\n" if tolerant else "MARK", "new": new}
        outcome = toolbox.prepare(ToolCall("c", "edit", json.dumps(arguments))).run()
        data = path.read_bytes()
        ended["control"] += _text_mode_changes_more(raw, first, last)
        if outcome.is_error:
            ended["refused" if data == raw else "changed by a refusal"] += 1
            continue
        after = "" if tolerant else "  \r\n"
        codec = encoding.removesuffix("-sig") if "16" in encoding else "utf-8" if _is_utf8(raw) else "latin-1"
        middle = data[len(first) : len(data) - len(last)].decode(codec)
        same = data.startswith(first) and data.endswith(last) and len(data) >= len(first) + len(last)
        same = same and middle.replace("\r\n", "\n") == (new + after).replace("\r\n", "\n")
        ended["kept" if same and stat.S_IMODE(path.stat().st_mode) == mode else "lost"] += 1
    broken = ended["lost"] + ended["changed by a refusal"]
    figures = f"{broken} changed another byte or the mode; {ended['kept']:,} done, {ended['refused']:,} refused"
    report.say(f"{count:,} edits", figures, broken=broken)
    report.say("  control: text mode", f"{ended['control']:,} changed other bytes", blind=not ended["control"])


def _body(chance: random.Random) -> str:
    return "".join(chance.choice(WORDS) + chance.choice(["\n", "\r\n"]) for _ in range(chance.randint(0, 5)))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text_mode_changes_more(raw: bytes, first: bytes, last: bytes) -> bool:
    """Return whether reading as text with replacement and writing back changes bytes around the passage."""
    text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    data = text.replace("MARK", "new").encode()
    return not (data.startswith(first) and data.endswith(last))


CODE = ["a", "b", "if x:", "", "\u2028", "é\t"]


def match_edits(report: Report, count: int, chance: random.Random) -> None:
    """Match passages as models misquote them: existing ones are found, and only what was asked for is found."""
    ended: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(count):
        lines = [" " * chance.randint(0, 8) + chance.choice(CODE) for _ in range(30)] + ["end"]
        first = chance.randrange(len(lines))
        lines[first] += f" unique{chance.randrange(10**6)}"
        text = chance.choice(["\n", "\r\n"]).join(lines) + chance.choice(["", "\n"])
        quoted = lines[first : first + chance.randint(1, 8)]
        indent = " " * chance.randint(0, 3)
        old = "\n".join(indent + line + " " * chance.randint(0, 2) if line.strip() else line for line in quoted)
        old += chance.choice(["", "\n"])
        junk = "".join(chance.choices("ab \t\n\r(é\0\u2028", k=chance.randint(1, 30)))
        started = time.perf_counter()
        try:
            exact, tolerant = find_exact(text, old, "x"), find_tolerant(text, old, indent + "x")
            find_nearest_passage(text, junk)
            odd = find_tolerant(text, junk, "x") + find_exact(text, junk, "x")
        except ToolError:
            odd, exact, tolerant = [], [], []
        slowest = max(slowest, time.perf_counter() - started)
        ended["exact"] += bool(exact)
        found = [place for place in tolerant if line_number(text, place.start) == first + 1]
        ended["missed"] += not found
        ended["wrong"] += any(_words(text[place.start : place.end]) != _words(old) for place in tolerant)
        ended["wrong"] += any(_words(text[place.start : place.end]) != _words(junk) for place in odd)
    broken = ended["missed"] + ended["wrong"]
    report.say(
        f"{count:,} misquoted passages",
        f"{ended['missed']} missed, {ended['wrong']} wrong; the slowest took {slowest * 1000:.0f} ms",
        broken=broken,
    )
    missed = count - ended["exact"]
    report.say("  control: exact search", f"{missed:,} missed", blind=not missed)


def _words(text: str) -> list[str]:
    return text.split()


def main() -> int:
    """Print the figures; return 1 if a promise was broken, or a control found nothing."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    chance, report = random.Random(seed), Report()
    memory = Path("/dev/shm")  # no disk is measured here
    print(f"seed {seed}; ways of opening: {', '.join(ways())}")
    for missing in WAYS.keys() - ways().keys():
        print(f"not run: {missing}, which this machine does not have")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name).resolve()
        for part in ("paths", "race"):
            (folder / part).mkdir()
        try_paths(report, folder / "paths", count, chance)
        if hasattr(ctypes.CDLL(None), "renameat2"):
            race(report, folder / "race", 10 * count)
        else:
            print("not run: the races, which need a system that exchanges two names in one step")
        edit_files(report, folder, max(1, count // 5), chance)
        match_edits(report, max(1, count // 5), chance)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())

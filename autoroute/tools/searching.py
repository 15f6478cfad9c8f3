"""Which lines match: ``rg`` where its patterns mean what ours do, our own search for all others.

Python's regular expressions are the reference. ``rg`` gets only patterns that both read alike, so a result never
depends on what is installed, but for bytes that are no UTF-8. Neither can hang a run: both are processes with a time
limit.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from autoroute.tools.calls import Refused
from autoroute.tools.listing import QUIET

SECONDS = 20.0
_MAX_FILE_BYTES = 5 * 1024 * 1024
_MAX_COMMAND_BYTES = 256 * 1024
_SEARCHED = (0, 1)
"""Exit codes: lines matched, none did. ``rg`` gives others for a bad pattern, but for an unreadable file too."""

_RIPGREP_FLAGS = (
    *QUIET,
    "--threads=1",  # keeps the order of the files
    "--no-heading",
    "--with-filename",
    "--line-number",
    "--null",
    "--max-columns=1",
    "--no-mmap",
    "--crlf",
)

# A pattern that both engines read alike: plain characters, escapes that both know, groups, plain classes, quantifiers.
_SHARED = re.compile(
    r"""(?: [^\\\[\](){}*+?\n]
          | \\(?:[bBdDwWsSt] | [^\w\s<>])
          | \((?:\?:)? | \)
          | \[\^?(?: [^\\\[\]\n&~-] | \\[dwst\\\]\[^.-] | \w-\w )+-?\]
          | (?<=[^*+?{(|^]) (?:[*+?] | \{\d{1,3}(?:,\d{0,3})?\}) \?? (?![*+?{])
        )*""",
    re.VERBOSE | re.ASCII,
)


def search(
    root: Path, files: Sequence[str], pattern: str, *, ignore_case: bool, ripgrep: str | None, seconds: float = SECONDS
) -> Generator[tuple[str, int]]:
    """Path and line number of each match in ``files`` (relative to ``root``), in their order.

    Files above 5 MiB, those with a line feed in their name, and what is no regular file, are passed over. Raises
    ``Refused`` for a bad pattern, and when ``seconds`` have passed.
    """
    deadline = time.monotonic() + seconds
    case = ["--ignore-case"] * ignore_case
    own = [sys.executable, "-I", "-W", "ignore", str(Path(__file__).with_name("matching.py")), *case, "--", pattern]
    command = own
    if ripgrep and _SHARED.fullmatch(pattern):
        command = [ripgrep, *_RIPGREP_FLAGS, *case, "-e", pattern, "--"]
    batches = _batches(root, files)
    first = next(batches, [])
    if not first or (yield from _run(command, first, root, deadline)):
        # Our own search has the last word on what a bad pattern is, and says it even when there is nothing to search.
        command = own
        complaint = yield from _run(command, first, root, deadline)
        if complaint:
            raise Refused(f"pattern: {pattern!r} is no regular expression: {complaint}")
    for batch in batches:
        yield from _run(command, batch, root, deadline)


def _batches(root: Path, files: Sequence[str]) -> Iterator[list[str]]:
    """The files worth searching, in groups that fit on a command line."""
    batch: list[str] = []
    size = 0
    for path in files:
        try:
            status = os.lstat(f"{root}/{path}")
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE_BYTES or "\n" in path:
            continue
        batch.append(f"./{path}")
        size += len(os.fsencode(path)) + 16
        if size > _MAX_COMMAND_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _run(command: list[str], files: list[str], root: Path, deadline: float) -> Generator[tuple[str, int], None, str]:
    """Run one process over ``files``; returns why it refused the pattern, "" when it did not."""
    process = subprocess.Popen(
        [*command, *files],
        cwd=root,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    clock = threading.Timer(max(0.0, deadline - time.monotonic()), stop)
    clock.start()
    found = False
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                path, separator, rest = line.partition(b"\0")
                if separator:
                    found = True
                    yield os.fsdecode(path).removeprefix("./"), int(rest.partition(b":")[0])
            complaint = process.stderr.read(2_000).decode("utf-8", "replace")
            process.wait()
        finally:
            clock.cancel()
            process.kill()
    if late.is_set():
        raise Refused("the search took too long: use a simpler pattern, or narrow it with `path` or `glob`")
    return "" if found or process.returncode in _SEARCHED else complaint or f"exit code {process.returncode}"

"""Which lines match: ``rg`` where its patterns mean what ours do, our own search for all others.

Python's regular expressions are the reference. ``rg`` gets only patterns that both read alike, so a result never
depends on what is installed, but for bytes that are no UTF-8. Neither can hang a run: both are processes with a time
limit. And neither opens a file: they are given the text of all files as one, so there is no path to lead them astray.
"""

from __future__ import annotations

import codecs
import re
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from autoroute.tools.tool import ToolError
from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import FileRefused

SECONDS = 20.0
_MAX_FILE_BYTES = 5 * 1024 * 1024
_SEARCHED = (0, 1)
"""Exit codes: lines matched, none did. ``rg`` gives others for a bad pattern."""
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_RIPGREP_FLAGS = (
    *("--no-config", "--no-messages", "--color=never", "--no-filename", "--line-number"),
    *("--text", "--encoding=none", "--crlf", "--max-columns=1"),
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
    files: Files,
    paths: Sequence[str],
    pattern: str,
    *,
    ignore_case: bool,
    ripgrep: str | None,
    seconds: float = SECONDS,
) -> Generator[tuple[str, int]]:
    """Path and line number of each match in the files at ``paths``, in their order.

    Files above 5 MiB, those with a line feed in their name, and what holds no text, are passed over. Raises
    ``ToolError`` for a bad pattern, and when ``seconds`` have passed.
    """
    deadline = time.monotonic() + seconds
    case = ["--ignore-case"] * ignore_case
    # One that a PATH names relative to the current folder may be anybody's.
    if ripgrep and Path(ripgrep).is_absolute() and _SHARED.fullmatch(pattern):
        command = [ripgrep, *_RIPGREP_FLAGS, *case, "-e", pattern, "-"]
        if not (yield from _run(command, _Feed(files, paths), deadline)):
            return
    # Our own search has the last word on what a bad pattern is.
    own = [
        sys.executable,
        "-I",
        "-W",
        "ignore",
        str(Path(__file__).with_name("python_search.py")),
        *case,
        "--",
        pattern,
    ]
    complaint = yield from _run(own, _Feed(files, paths), deadline)
    if complaint:
        raise ToolError(f"pattern: {pattern!r} is no regular expression: {complaint}")


class _Feed:
    """The text of many files as one, in UTF-8; ``locate`` finds the file and the line in it that a line of it is."""

    def __init__(self, files: Files, paths: Iterable[str]) -> None:
        self._files = files
        self._paths = paths
        self._fed: list[str] = []
        self._ends: list[int] = []

    def pour(self, pipe: IO[bytes]) -> None:
        """Write everything to the pipe and close it, unless who reads from it ends before."""
        last = 0
        with suppress(BrokenPipeError), pipe:
            for path in self._paths:
                text = _text(self._files, path)
                if text and "\n" not in path:
                    last += text.count(b"\n")
                    self._fed.append(path)
                    self._ends.append(last)
                    pipe.write(text)

    def locate(self, line: int) -> tuple[str, int]:
        """The path, and the line in that file, of a line of what was written so far; both count from 1."""
        number = bisect_left(self._ends, line)
        return self._fed[number], line - (self._ends[number - 1] if number else 0)


def _text(files: Files, path: str) -> bytes:
    """A text file in UTF-8, its last line ended; nothing of one that is binary, huge, gone or unreadable."""
    try:
        data = files.read(path, _MAX_FILE_BYTES)
    except (FileRefused, OSError):
        return b""
    if data[:2] in _UTF16:
        data = data[2:].decode(_UTF16[data[:2]], "replace").encode("utf-8")
    elif b"\0" in data:
        return b""
    data = data.removeprefix(codecs.BOM_UTF8)
    return data if data.endswith(b"\n") or not data else data + b"\n"


def _run(command: list[str], feed: _Feed, deadline: float) -> Generator[tuple[str, int], None, str]:
    """Run one process over the text; returns why it refused the pattern, "" when it did not."""
    process = subprocess.Popen(
        command, cwd="/", env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    clock = threading.Timer(max(0.0, deadline - time.monotonic()), stop)
    clock.start()
    found = False
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        pouring = threading.Thread(target=feed.pour, args=(process.stdin,))
        pouring.start()
        try:
            for line in process.stdout:
                number, separator, _ = line.partition(b":")
                if separator:
                    found = True
                    yield feed.locate(int(number))
            complaint = process.stderr.read(2_000).decode("utf-8", "replace")
            process.wait()
        finally:
            clock.cancel()
            process.kill()
            pouring.join()
    if late.is_set():
        raise ToolError("the search took too long: use a simpler pattern, or narrow it with `path` or `glob`")
    return "" if found or process.returncode in _SEARCHED else complaint or f"exit code {process.returncode}"

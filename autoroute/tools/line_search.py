"""The lines of files that match a regular expression, found by ``rg`` or by our own search in Python.

Neither can hang a run: both are processes with a time limit. Neither opens a file: they get the text of all files on
their input, so a path or link cannot lead them out of the workspace.
"""

from __future__ import annotations

import codecs
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from autoroute.tools.ripgrep import ripgrep_command
from autoroute.tools.text_file import UTF16_MARKS
from autoroute.tools.tool import ToolError
from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import FileRefused

TIMEOUT_SECONDS = 20.0
_MAX_FILE_BYTES = 5 * 1024 * 1024
_MAX_ERROR_BYTES = 2_000
_EXIT_CODES_WITHOUT_ERROR = (0, 1)
"""Lines matched, or none did. ``rg`` and our search exit with 2 for an invalid pattern."""


def search_lines(
    files: Files,
    paths: Sequence[str],
    pattern: str,
    *,
    ignore_case: bool,
    ripgrep: str | None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Generator[tuple[str, int]]:
    """Yield path and line number of each match in the files at ``paths``, in their order.

    Files above 5 MiB, binary files, and files with a line feed in their name are skipped. Raises ``ToolError`` for an
    invalid pattern, and after ``timeout_seconds``.
    """
    deadline = time.monotonic() + timeout_seconds
    command = ripgrep_command(ripgrep, pattern, ignore_case=ignore_case)
    if command and not (yield from _run(command, _TextOfFiles(files, paths), deadline)):
        return
    # If rg is not used or fails, our own search decides: results and errors are those of Python.
    program = str(Path(__file__).with_name("python_search.py"))
    flags = ["--ignore-case"] * ignore_case
    command = [sys.executable, "-I", "-W", "ignore", program, *flags, "--", pattern]
    error = yield from _run(command, _TextOfFiles(files, paths), deadline)
    if error:
        raise ToolError(f"pattern: {pattern!r} is not a valid regular expression: {error}")


class _TextOfFiles:
    """The text of many files as one UTF-8 stream; maps a line of the stream to its file and the line there."""

    def __init__(self, files: Files, paths: Iterable[str]) -> None:
        self._files = files
        self._paths = paths
        self._written: list[str] = []
        self._last_lines: list[int] = []

    def write_to(self, pipe: IO[bytes]) -> None:
        """Write everything to the pipe and close it; stop without an error if the reader ends first."""
        last = 0
        with suppress(BrokenPipeError), pipe:
            for path in self._paths:
                text = _read_text(self._files, path)
                if text and "\n" not in path:
                    last += text.count(b"\n")
                    self._written.append(path)
                    self._last_lines.append(last)
                    pipe.write(text)

    def locate(self, line: int) -> tuple[str, int]:
        """Return the path, and the line in that file, of a line of the stream; lines count from 1."""
        number = bisect_left(self._last_lines, line)
        return self._written[number], line - (self._last_lines[number - 1] if number else 0)


def _read_text(files: Files, path: str) -> bytes:
    """Return a text file as UTF-8 that ends with a newline; b"" if it is binary, too large, missing or unreadable."""
    try:
        data = files.read(path, _MAX_FILE_BYTES)
    except (FileRefused, OSError):
        return b""
    if data[:2] in UTF16_MARKS:
        data = data[2:].decode(UTF16_MARKS[data[:2]], "replace").encode("utf-8")
    elif b"\0" in data:
        return b""
    data = data.removeprefix(codecs.BOM_UTF8)
    return data if data.endswith(b"\n") or not data else data + b"\n"


def _run(command: list[str], text: _TextOfFiles, deadline: float) -> Generator[tuple[str, int], None, str]:
    """Yield the matches that a search process finds in the text; return why it failed, "" if it did not fail."""
    process = subprocess.Popen(
        command, cwd="/", env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        process.kill()

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), stop)
    timer.start()
    found = False
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # Written by a thread: the process prints matches before it has read everything, and both pipes would fill up.
        writer = threading.Thread(target=text.write_to, args=(process.stdin,))
        writer.start()
        try:
            for line in process.stdout:
                number, separator, _ = line.partition(b":")
                if separator:
                    found = True
                    yield text.locate(int(number))
            error = process.stderr.read(_MAX_ERROR_BYTES).decode("utf-8", "replace")
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            writer.join()
    if timed_out.is_set():
        raise ToolError("the search timed out: use a simpler pattern, or narrow it with `path` or `glob`")
    succeeded = found or process.returncode in _EXIT_CODES_WITHOUT_ERROR
    return "" if succeeded else error or f"exit code {process.returncode}"

"""The task: a Markdown file or standard input, with TOML front matter if it begins with ``+++``, or a spec folder."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from autoroute.config.autoclaude import read_spec_folder
from autoroute.config.taskfile import MAX_BYTES, TaskFile, decode, first_line, heading, one_line, read_bytes
from autoroute.errors import TaskError
from autoroute.parsing import Unreadable, read_toml
from autoroute.text import did_you_mean

__all__ = ["TaskFile", "read_task"]

_FENCE = "+++"
_FRONT_MATTER = re.compile(r"\A\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def read_task(argument: str, stdin: BinaryIO | None, folder: Path, *, environ: Mapping[str, str]) -> TaskFile:
    """Read TASK, a path relative to ``folder`` or ``-``; raises ``TaskError`` with the place and what mends it.

    ``environ`` is asked for what the short model names of an Auto-Claude spec folder mean, and for nothing else.
    """
    if argument == "-":
        if stdin is None:
            raise TaskError("standard input is not available here", hint="name a Markdown file")
        return _parse(stdin.read(MAX_BYTES + 1), "standard input", None)
    path = folder / argument
    if _is_folder(path):
        return read_spec_folder(path, argument, environ)
    data = read_bytes(path, argument)
    if data is None:
        raise TaskError(f"there is no file {argument}", hint=_nearest(path))
    return _parse(data, argument, path.resolve())


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        # Reading it as a file says what is wrong.
        return False


def _nearest(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except (OSError, ValueError):
        return "name a Markdown file that says what is to be done"
    return did_you_mean(path.name, names, otherwise="write down what is to be done, in Markdown")


def _parse(data: bytes, name: str, path: Path | None) -> TaskFile:
    settings, body = _split(decode(data, name), name)
    title = settings.pop("title", "") or heading(body) or first_line(body)
    if not isinstance(title, str):
        raise TaskError(f"{name}: title in the front matter must be text")
    return TaskFile.of(one_line(title) or "Task", body, name, settings, path)


def _split(text: str, name: str) -> tuple[dict[str, Any], str]:
    """The front matter and what comes after it."""
    if not text.startswith(_FENCE):
        return {}, text
    found = _FRONT_MATTER.match(text)
    if found is None:
        raise TaskError(
            f"{name}: the front matter that begins in line 1 has no end", hint=f"end it with a line {_FENCE}"
        )
    try:
        return read_toml(found[1].replace("\r\n", "\n")), text[found.end() :]
    except Unreadable as error:
        # The parser counts from the line after the fence.
        words = re.sub(r"\(at line (\d+)", lambda at: f"(at line {int(at[1]) + 1}", str(error))
        raise TaskError(f"{name}: front matter: {words}") from None

"""The task: a Markdown file or standard input, with TOML front matter if it begins with ``+++``, or a spec folder."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from autoroute.config.autoclaude import read_spec_folder
from autoroute.config.task_links import resolve_task
from autoroute.config.taskfile import (
    MAX_TASK_BYTES,
    TaskFile,
    decode,
    find_first_line,
    find_heading,
    read_bytes,
    to_title,
)
from autoroute.errors import TaskError
from autoroute.parsing import Unreadable, read_toml
from autoroute.patterns import pattern
from autoroute.text import did_you_mean

__all__ = ["TaskFile", "read_task"]

_FENCE = "+++"
_FRONT_MATTER = pattern(r"\A\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def read_task(argument: str, stdin: BinaryIO | None, folder: Path, *, environ: Mapping[str, str]) -> TaskFile:
    """Read TASK: a path relative to ``folder``, or ``-`` for standard input. Raises ``TaskError``.

    ``environ`` may replace the short model names of an Auto-Claude spec folder, and git looks at links with it.
    """
    if argument == "-":
        if stdin is None:
            raise TaskError("standard input is not available", hint="pass a Markdown file")
        return _parse(stdin.read(MAX_TASK_BYTES + 1), "standard input", None)
    path = resolve_task(folder / argument, argument, environ)
    if _is_folder(path):
        return read_spec_folder(path, argument, environ)
    data = read_bytes(path, argument)
    if data is None:
        raise TaskError(f"task file not found: `{argument}`", hint=_suggest_file(path))
    return _parse(data, argument, path)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        # To read it as a file raises an error that says what is wrong.
        return False


def _suggest_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except (OSError, ValueError):
        return "pass a Markdown file that describes the task"
    return did_you_mean(path.name, names, otherwise="pass a Markdown file that describes the task")


def _parse(data: bytes, name: str, path: Path | None) -> TaskFile:
    settings, body = _split_front_matter(decode(data, name), name)
    title = settings.pop("title", "") or find_heading(body) or find_first_line(body)
    if not isinstance(title, str):
        raise TaskError(f"{name}: title in the front matter must be text")
    return TaskFile.from_text(to_title(title) or "Task", body, name, settings, path)


def _split_front_matter(text: str, name: str) -> tuple[dict[str, Any], str]:
    """Return the front matter and the text after it."""
    if not text.startswith(_FENCE):
        return {}, text
    found = _FRONT_MATTER.match(text)
    if found is None:
        raise TaskError(f"{name}: the front matter of line 1 is not closed", hint=f"close it with a line {_FENCE}")
    try:
        return read_toml(found[1].replace("\r\n", "\n")), text[found.end() :]
    except Unreadable as error:
        # The parser counts lines from the one after the fence.
        message = re.sub(r"\(at line (\d+)", lambda at: f"(at line {int(at[1]) + 1}", str(error))
        raise TaskError(f"{name}: front matter: {message}") from None

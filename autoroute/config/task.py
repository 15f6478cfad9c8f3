"""The task: a Markdown file or standard input, with TOML front matter if it begins with ``+++``."""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from autoroute.errors import TaskError
from autoroute.routing import Task

_MAX_BYTES = 256 * 1024
_LONGEST_TITLE = 120
_FENCE = "+++"
_FRONT_MATTER = re.compile(r"\A\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task, its settings (the front matter without its title), and the file it came from (None: standard input)."""

    task: Task
    settings: Mapping[str, Any]
    path: Path | None

    @property
    def name(self) -> str:
        """How messages speak of it."""
        return self.task.source


def read_task(argument: str, stdin: BinaryIO, folder: Path) -> TaskFile:
    """Read TASK, a path relative to ``folder`` or ``-``; raises ``TaskError`` with the place and what mends it."""
    if argument == "-":
        return _parse(stdin.read(_MAX_BYTES + 1), "standard input", None)
    path = folder / argument
    return _parse(_read(path, argument), argument, path.resolve())


def _read(path: Path, name: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise TaskError(f"{name} is a folder", hint="name a Markdown file that says what is to be done")
        if not stat.S_ISREG(mode):
            raise TaskError(f"{name} is no regular file", hint="name a Markdown file, or - for standard input")
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise TaskError(f"there is no file {name}", hint=_nearest(path)) from None
    except (OSError, ValueError) as error:
        raise TaskError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _nearest(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except (OSError, ValueError):
        return "name a Markdown file that says what is to be done"
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "write down what is to be done, in Markdown"


def _parse(data: bytes, name: str, path: Path | None) -> TaskFile:
    if len(data) > _MAX_BYTES:
        raise TaskError(f"{name} is longer than {_MAX_BYTES // 1024} KiB", hint="a task is a page or two of text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{name} is not UTF-8 (byte {error.start})", hint="save it as UTF-8 text") from None
    settings, body = _split(text, name)
    if not body.strip():
        raise TaskError(f"{name} is empty", hint="write down what is to be done, in Markdown")
    title = settings.pop("title", "") or _title(body)
    if not isinstance(title, str):
        raise TaskError(f"{name}: title in the front matter must be text")
    return TaskFile(Task(_clean(title), body.strip() + "\n", name), settings, path)


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
        return tomllib.loads(found[1].replace("\r\n", "\n")), text[found.end() :]
    except tomllib.TOMLDecodeError as error:
        # The parser counts from the line after the fence.
        words = re.sub(r"\(at line (\d+)", lambda at: f"(at line {int(at[1]) + 1}", str(error))
        raise TaskError(f"{name}: front matter: {words}") from None
    except RecursionError:
        raise TaskError(f"{name}: front matter: nested too deep") from None


def _title(body: str) -> str:
    """The first heading, else the first line."""
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    headings = [line.lstrip("#").strip() for line in lines if re.match(r"#{1,6}\s+\S", line)]
    return (headings or lines)[0]


def _clean(title: str) -> str:
    """One printable line."""
    plain = "".join(character if character.isprintable() else " " for character in title)
    return " ".join(plain.split())[:_LONGEST_TITLE] or "Task"

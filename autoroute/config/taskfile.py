"""What a task is read into, and the bounds of every file that it is read from."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoroute.errors import TaskError
from autoroute.invisible import make_visible, strip_invisible
from autoroute.routing import Task

MAX_BYTES = 256 * 1024
_LONGEST_TITLE = 120


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task, its settings, and the file or folder it came from (None: standard input)."""

    task: Task
    settings: Mapping[str, Any]
    path: Path | None
    taken_out: str = ""
    """Characters that show nothing: they stood in its text, and no model gets them."""

    @classmethod
    def of(cls, title: str, text: str, name: str, settings: Mapping[str, Any], path: Path | None) -> TaskFile:
        """The task that is written in ``text``, as a person sees it."""
        text, taken_out = strip_invisible(text)
        if not text.strip():
            raise TaskError(f"{name} is empty", hint="write down what is to be done, in Markdown")
        return cls(Task(title, text.strip() + "\n", name), settings, path, taken_out)

    @property
    def name(self) -> str:
        """How messages speak of it."""
        return self.task.source

    @property
    def hidden(self) -> str:
        """What is in it that is not seen where it is read, in words; "" when there is nothing."""
        comments = self.task.text.count("<!--")
        said = []
        if self.taken_out:
            kinds = ", ".join(make_visible(character) for character in list(dict.fromkeys(self.taken_out))[:5])
            said.append(f"invisible characters, which no model gets ({len(self.taken_out)}: {kinds})")
        if comments:
            said.append(f"HTML comments, which models read and a page does not show ({comments})")
        return f"{self.name} holds {' and '.join(said)}" if said else ""

    def covers(self, changed: Path) -> bool:
        """Whether a path that git calls changed is the task itself, and no work that the run would leave out.

        Git names a folder of which it knows no file as a whole; ``.auto-claude`` holds tasks only, so it counts.
        """
        if self.path is None:
            return False
        return changed.is_relative_to(self.path) or (
            changed.name == ".auto-claude" and self.path.is_relative_to(changed)
        )


def read_bytes(path: Path, name: str) -> bytes | None:
    """A file's bytes, at most one more than is allowed; None when there is no such file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise TaskError(f"{name} is no regular file", hint="name a Markdown file, or - for standard input")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TaskError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def decode(data: bytes, name: str) -> str:
    """The text of a file that is neither too long nor anything but UTF-8."""
    if len(data) > MAX_BYTES:
        raise TaskError(f"{name} is longer than {MAX_BYTES // 1024} KiB", hint="a task is a page or two of text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{name} is not UTF-8 (byte {error.start})", hint="save it as UTF-8 text") from None


def heading(text: str) -> str:
    """The first Markdown heading; "" when there is none."""
    lines = (line.strip() for line in text.splitlines())
    return next((line.lstrip("#").strip() for line in lines if re.match(r"#{1,6}\s+\S", line)), "")


def first_line(text: str) -> str:
    """The first line with something in it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def one_line(title: str) -> str:
    """One printable line, of a title's length."""
    plain = "".join(character if character.isprintable() else " " for character in title)
    return " ".join(plain.split())[:_LONGEST_TITLE]

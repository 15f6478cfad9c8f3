"""The value that a task is read into, and the reading of its files within limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoroute.errors import TaskError
from autoroute.invisible import make_visible, strip_invisible
from autoroute.regular_files import NotRegular, open_regular
from autoroute.routing import Task

MAX_TASK_BYTES = 256 * 1024
_MAX_TITLE_CHARACTERS = 120
_MAX_SHOWN_CHARACTERS = 5


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task, its settings, and the file or folder it came from (None for standard input)."""

    task: Task
    settings: Mapping[str, Any]
    path: Path | None
    stripped: str = ""
    """The invisible characters that were removed from its text."""

    @classmethod
    def from_text(cls, title: str, text: str, name: str, settings: Mapping[str, Any], path: Path | None) -> TaskFile:
        """Make a task of a text, without the characters that a person cannot see."""
        text, stripped = strip_invisible(text)
        if not text.strip():
            raise TaskError(f"{name} is empty", hint="describe the task in Markdown")
        return cls(Task(title, text.strip() + "\n", name), settings, path, stripped)

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.task.source

    @property
    def hidden_content(self) -> str:
        """A message about content that a person does not see in a rendered page; "" if the task has none."""
        comments = self.task.text.count("<!--")
        found = []
        if self.stripped:
            kinds = [make_visible(character) for character in dict.fromkeys(self.stripped)]
            shown = ", ".join(kinds[:_MAX_SHOWN_CHARACTERS])
            found.append(f"invisible characters, which are removed ({len(self.stripped)}: {shown})")
        if comments:
            found.append(f"HTML comments, which models read and a rendered page hides ({comments})")
        return f"{self.name} contains {' and '.join(found)}" if found else ""

    def covers(self, changed: Path) -> bool:
        """Return whether a changed path of git's status is the task itself, not work that the run would leave out.

        Git lists an untracked folder as one path. ``.auto-claude`` contains only tasks, so it counts as the task.
        """
        if self.path is None:
            return False
        return changed.is_relative_to(self.path) or (
            changed.name == ".auto-claude" and self.path.is_relative_to(changed)
        )


def read_bytes(path: Path, name: str) -> bytes | None:
    """Return at most one byte more than a task may have; None if the file does not exist. Raises ``TaskError``."""
    try:
        with open_regular(path) as file:
            return file.read(MAX_TASK_BYTES + 1)
    except FileNotFoundError:
        return None
    except NotRegular:
        raise TaskError(f"{name} is not a regular file", hint="pass a Markdown file, or - for standard input") from None
    except (OSError, ValueError) as error:
        raise TaskError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def decode(data: bytes, name: str) -> str:
    """Return the text of a file. Raises ``TaskError`` if it is too long or not UTF-8."""
    if len(data) > MAX_TASK_BYTES:
        raise TaskError(f"{name} is longer than {MAX_TASK_BYTES // 1024} KiB", hint="shorten the task to a few pages")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{name} is not UTF-8 (byte {error.start})", hint="save it as UTF-8 text") from None


def find_heading(text: str) -> str:
    """Return the first Markdown heading, "" without one."""
    lines = (line.strip() for line in text.splitlines())
    return next((line.lstrip("#").strip() for line in lines if re.match(r"#{1,6}\s+\S", line)), "")


def find_first_line(text: str) -> str:
    """Return the first line that is not blank, "" without one."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def to_title(title: str) -> str:
    """Return a title as one printable line of limited length."""
    plain = "".join(character if character.isprintable() else " " for character in title)
    return " ".join(plain.split())[:_MAX_TITLE_CHARACTERS]

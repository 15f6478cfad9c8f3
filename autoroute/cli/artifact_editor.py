"""An artifact at a gate: what a person is shown of it, and its file while they edit it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoroute.parsing import Unreadable, read_json, read_object
from autoroute.regular_files import read_file
from autoroute.render.clean import clean


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """An artifact's file, whose content is what gets approved, and its content before a person edited it."""

    path: Path
    original: bytes | None

    @classmethod
    def open(cls, path: Path) -> ArtifactFile:
        """Return the file with its content as it is now."""
        return cls(path, _bytes(path))

    @property
    def data(self) -> bytes | None:
        """The content now; None when it cannot be read."""
        return _bytes(self.path)

    @property
    def edited(self) -> bool:
        """Whether the content has changed."""
        return self.original is not None and self.data != self.original

    def undo(self) -> None:
        """Restore the content from before the edit."""
        with suppress(OSError):  # the undo stays on offer then
            self.path.write_bytes(self.original or b"")

    def read(self) -> Mapping[str, Any] | str:
        """Return the artifact in the file now, or the reason why it cannot be read."""
        name = clean(str(self.path))
        try:
            return read_object(self.data or b"")
        except Unreadable as error:
            return f"{name} is {clean(str(error))}"


def read_lines(path: Path) -> list[str]:
    """Return what a person is shown of a document: summary and subtasks of a plan, else all lines with text."""
    text = (_bytes(path) or b"").decode("utf-8", "replace")
    if path.suffix == ".json":
        try:
            plan = read_json(text)
            return [str(plan["summary"]), *(f"{task['id']}: {task['title']}" for task in plan["subtasks"])]
        except (Unreadable, KeyError, TypeError):
            pass
    return [line for line in text.splitlines() if line.strip()]


def _bytes(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except OSError:
        return None

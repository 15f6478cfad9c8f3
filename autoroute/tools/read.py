"""`read`: a file with line numbers, a part of it, or what is in a folder."""

from __future__ import annotations

from pydantic import Field

from autoroute.text import find_similar
from autoroute.tools.arguments import Count, PathText
from autoroute.tools.file_list import list_files
from autoroute.tools.text_file import counted, decode_file, numbered
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.workspace.files import Files

_LINES = 2_000
_CHARACTERS = 100_000
_ENTRIES = 500
_COMPARED = 5_000


class Read(Arguments):
    """What `read` takes."""

    path: PathText = Field(description="Path of a file or folder, relative to the project's root.")
    offset: Count | None = Field(default=None, description="First line to show, from 1.")
    limit: Count | None = Field(default=None, description=f"How many lines to show; {_LINES} by default.")


def _prepare(given: Read, context: ToolContext) -> Step:
    part = f" from line {given.offset}" if given.offset else ""
    return Step(f"{given.path}{part}", lambda: _read(given, context))


READ = Tool(
    name="read",
    description=(
        "Read a text file, with line numbers (they and the tab after them are not part of the file), "
        "or list a folder. Long files come in parts: go on with offset."
    ),
    arguments=Read,
    read_only=True,
    repeatable=True,
    prepare=_prepare,
)


def _read(given: Read, context: ToolContext) -> ToolOutcome:
    files = context.files
    path = files.relative(given.path)
    if files.is_folder(path):
        return ToolOutcome(_folder(files, path))
    document = decode_file(read_existing(files, path), path)
    lines = document.redacted(context.redact).lines
    if not lines:
        return ToolOutcome(f"({path} is empty)")
    first = given.offset or 1
    if first > len(lines):
        raise ToolError(f"offset {first} is past the end: {path} has {counted(len(lines), 'line')}")
    shown, last = _part(lines, first, given.limit or _LINES)
    notes = document.notes()
    if first > 1 or last < len(lines):
        notes.insert(0, f"lines {first}-{last} of {len(lines)}")
    if last < len(lines):
        notes.insert(1, f"read on with offset={last + 1}")
    return ToolOutcome(shown + (f"\n({'; '.join(notes)})" if notes else ""))


def _part(lines: list[str], first: int, limit: int) -> tuple[str, int]:
    """The numbered lines from ``first``, as many as fit, and the number of the last one."""
    shown: list[str] = []
    size = 0
    for number, line in enumerate(lines[first - 1 : first - 1 + limit], first):
        text = numbered([line], number)
        size += len(text) + 1
        if shown and size > _CHARACTERS:
            break
        shown.append(text)
    return "\n".join(shown), first - 1 + len(shown)


def _folder(files: Files, path: str) -> str:
    names = sorted(entry.name + "/" * (entry.kind == "folder") for entry in files.entries(path))
    if not names:
        return f"({path or '.'} is an empty folder)"
    rest = [f"({len(names) - _ENTRIES:,} more; use find)"] if len(names) > _ENTRIES else []
    return "\n".join([f"{path or '.'}:", *names[:_ENTRIES], *rest])


def read_existing(files: Files, path: str) -> bytes:
    """The bytes of a file. Raises ``ToolError`` with the nearest names when there is none."""
    if files.exists(path):
        return files.read(path)
    known = list_files(files)
    name = path.rpartition("/")[2]
    same_name = [file for file in known if file.rpartition("/")[2] == name]
    near = same_name[:5] or find_similar(path, known[:_COMPARED], cutoff=0.7)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ToolError(f"there is no file {path}{hint}")

"""``read``: show a file or a part of it with line numbers, or list a folder."""

from __future__ import annotations

from pydantic import Field

from autoroute.text import find_similar
from autoroute.tools.arguments import Count, PathText
from autoroute.tools.file_list import list_files
from autoroute.tools.text_file import decode_file, fold_data, format_count, number_lines
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.workspace.files import Files

_DEFAULT_LINES = 2_000
_MAX_CHARACTERS = 100_000
_MAX_ENTRIES = 500
_MAX_COMPARED_PATHS = 5_000
_MAX_SUGGESTIONS = 5
_SIMILAR_PATH_RATIO = 0.7


class Read(Arguments):
    """Arguments of ``read``."""

    path: PathText = Field(description="Path of a file or folder, relative to the project's root.")
    offset: Count | None = Field(default=None, description="First line to show, counted from 1.")
    limit: Count | None = Field(default=None, description=f"How many lines to show; {_DEFAULT_LINES} by default.")


def _prepare(args: Read, context: ToolContext) -> Step:
    part = f" from line {args.offset}" if args.offset else ""
    return Step(f"{args.path}{part}", lambda: _read(args, context))


READ = Tool(
    name="read",
    description=(
        "Read a text file with line numbers, or list a folder. Each number and the tab after it are not part of the "
        "file. Long files are shown in parts: continue with offset."
    ),
    arguments=Read,
    read_only=True,
    repeatable=True,
    prepare=_prepare,
)


def _read(args: Read, context: ToolContext) -> ToolOutcome:
    files = context.files
    path = files.relative(args.path)
    if files.is_folder(path):
        return ToolOutcome(_list_folder(files, path))
    file = decode_file(read_existing(files, path), path)
    lines = fold_data(file.redacted(context.redact).lines, path)
    if not lines:
        return ToolOutcome(f"({path} is empty)")
    first = args.offset or 1
    if first > len(lines):
        raise ToolError(f"offset {first} is past the end: {path} has {format_count(len(lines), 'line')}")
    shown, last = _show_part(lines, first, args.limit or _DEFAULT_LINES)
    notes = file.notes()
    if first > 1 or last < len(lines):
        notes.insert(0, f"lines {first}-{last} of {len(lines)}")
    if last < len(lines):
        notes.insert(1, f"continue with offset={last + 1}")
    return ToolOutcome(shown + (f"\n({'; '.join(notes)})" if notes else ""))


def _show_part(lines: list[str], first: int, limit: int) -> tuple[str, int]:
    """Return the numbered lines from ``first``, as many as fit, and the number of the last one."""
    shown: list[str] = []
    size = 0
    for number, line in enumerate(lines[first - 1 : first - 1 + limit], first):
        text = number_lines([line], number)
        size += len(text) + 1
        if shown and size > _MAX_CHARACTERS:
            break
        shown.append(text)
    return "\n".join(shown), first - 1 + len(shown)


def _list_folder(files: Files, path: str) -> str:
    names = sorted(entry.name + "/" * (entry.kind == "folder") for entry in files.entries(path))
    if not names:
        return f"({path or '.'} is an empty folder)"
    rest = [f"({len(names) - _MAX_ENTRIES:,} more; use find)"] if len(names) > _MAX_ENTRIES else []
    return "\n".join([f"{path or '.'}:", *names[:_MAX_ENTRIES], *rest])


def read_existing(files: Files, path: str) -> bytes:
    """Return the content of a file. Raises ``ToolError`` with similar paths if the file does not exist."""
    if files.exists(path):
        return files.read(path)
    known = list_files(files)
    name = path.rpartition("/")[2]
    same_name = [file for file in known if file.rpartition("/")[2] == name]
    # Models often misremember the folder of a file, so the same name elsewhere is the better suggestion.
    similar = same_name[:_MAX_SUGGESTIONS] or find_similar(
        path, known[:_MAX_COMPARED_PATHS], cutoff=_SIMILAR_PATH_RATIO
    )
    hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
    raise ToolError(f"file not found: {path}{hint}")

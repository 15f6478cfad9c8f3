"""``grep``: search the lines of text files for a regular expression."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

from pydantic import Field, StringConstraints

from autoroute.text import truncate
from autoroute.tools.arguments import Flag, GlobText, PathText
from autoroute.tools.file_list import select_files
from autoroute.tools.line_search import search_lines
from autoroute.tools.required_words import find_required_words
from autoroute.tools.text_file import decode_file, fold_data, format_count
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.workspace.path_policy import FileRefused

_MAX_SHOWN_MATCHES = 200
_MAX_COUNTED_MATCHES = 2_000
_MAX_LINE_CHARACTERS = 500
_MANY_FILES = 1_000
"""From here on, it is worth asking git which files need a search."""


class Grep(Arguments):
    """Arguments of ``grep``."""

    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1_000)] = Field(
        description="A regular expression (Python's), matched line by line."
    )
    path: PathText | None = Field(default=None, description="File or folder to search; the whole project by default.")
    glob: GlobText | None = Field(default=None, description="Search only files like this: *.py, src/**/*.{ts,tsx}.")
    ignore_case: Flag = Field(default=False, description="Let upper and lower case match each other.")


def _prepare(args: Grep, context: ToolContext) -> Step:
    scope = "".join(f" in {value}" for value in (args.path, args.glob) if value)
    return Step(f"{args.pattern}{scope}", lambda: _grep(args, context))


GREP = Tool(
    name="grep",
    description=(
        "Search the lines of text files for a regular expression. "
        "Leaves out .git, files that .gitignore excludes, and files above 5 MiB."
    ),
    arguments=Grep,
    read_only=True,
    repeatable=True,
    prepare=_prepare,
)


def _grep(args: Grep, context: ToolContext) -> ToolOutcome:
    files = context.files
    paths = select_files(files, args.path, args.glob)
    shown: list[str] = []
    total = 0
    lines: list[str] = []
    current = ""
    searched = _leave_out(paths, args, context)
    matches = search_lines(files, searched, args.pattern, ignore_case=args.ignore_case, ripgrep=context.ripgrep)
    with closing(matches):
        for path, number in matches:
            if path != current:
                current, lines = path, _read_lines(context, path)
            # A missing line: the file is binary, or it changed after the search read it.
            if number > len(lines):
                continue
            total += 1
            if total <= _MAX_SHOWN_MATCHES:
                shown.append(f"{path}:{number}: {truncate(lines[number - 1], _MAX_LINE_CHARACTERS)}")
            if total == _MAX_COUNTED_MATCHES:
                break
    if not total:
        return ToolOutcome(f"no matches in {format_count(len(paths), 'file')}")
    if total > _MAX_SHOWN_MATCHES:
        at_least = "at least " if total == _MAX_COUNTED_MATCHES else ""
        shown.append(f"({at_least}{total - _MAX_SHOWN_MATCHES:,} more; narrow the pattern, or give path or glob)")
    return ToolOutcome("\n".join(shown))


def _leave_out(paths: list[str], args: Grep, context: ToolContext) -> list[str]:
    """Return the paths without files that cannot match, as git finds faster if there are many."""
    words = find_required_words(args.pattern, ignore_case=args.ignore_case) if len(paths) > _MANY_FILES else ()
    return list(filter(context.find_holders(words), paths)) if words else paths


def _read_lines(context: ToolContext, path: str) -> list[str]:
    """Return the lines of a file as ``read`` shows them; an empty list if it is not text."""
    try:
        return fold_data(decode_file(context.files.read(path), path).redacted(context.redact).lines, path)
    except (ToolError, FileRefused, OSError):
        return []

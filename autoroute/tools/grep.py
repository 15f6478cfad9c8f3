"""`grep` and `find`: lines by their text, files by their name, within what ``.gitignore`` leaves in."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

from pydantic import Field, StringConstraints

from autoroute.tools.arguments import Flag, PathText
from autoroute.tools.file_list import list_files
from autoroute.tools.glob import read_glob
from autoroute.tools.search import search
from autoroute.tools.text_file import counted, decode_file
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.workspace.path_policy import FileRefused

_MATCHES = 200
_COUNTED = 2_000
_WIDTH = 500
_FILES = 500

GlobText = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class Grep(Arguments):
    """What `grep` takes."""

    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1_000)] = Field(
        description="A regular expression (Python's), matched line by line."
    )
    path: PathText | None = Field(default=None, description="File or folder to search; the whole project by default.")
    glob: GlobText | None = Field(default=None, description="Only files like this: *.py, src/**/*.{ts,tsx}.")
    ignore_case: Flag = Field(default=False, description="Let upper and lower case match each other.")


class Find(Arguments):
    """What `find` takes."""

    glob: GlobText = Field(
        description="File name pattern. Without a slash it is for names at any depth (*.py), "
        "with one for paths relative to path (src/**/test_*.py)."
    )
    path: PathText | None = Field(default=None, description="Folder to look in; the whole project by default.")


def _prepare_grep(given: Grep, context: ToolContext) -> Step:
    where = "".join(f" in {place}" for place in (given.path, given.glob) if place)
    return Step(f"{given.pattern}{where}", lambda: _grep(given, context))


def _prepare_find(given: Find, context: ToolContext) -> Step:
    return Step(f"{given.glob}{f' in {given.path}' if given.path else ''}", lambda: _find(given, context))


GREP = Tool(
    name="grep",
    description=(
        "Search the lines of text files for a regular expression. "
        "Leaves out .git, what .gitignore names, and files above 5 MiB."
    ),
    arguments=Grep,
    read_only=True,
    repeatable=True,
    prepare=_prepare_grep,
)
FIND = Tool(
    name="find",
    description="List files by a name pattern. Leaves out .git and what .gitignore names.",
    arguments=Find,
    read_only=True,
    repeatable=True,
    prepare=_prepare_find,
)


def _grep(given: Grep, context: ToolContext) -> ToolOutcome:
    paths = _files(given.path, given.glob, context)
    shown: list[str] = []
    total = 0
    files = context.files
    lines: list[str] = []
    current = ""
    matches = search(files, paths, given.pattern, ignore_case=given.ignore_case, ripgrep=context.ripgrep)
    with closing(matches):
        for path, number in matches:
            if path != current:
                current, lines = path, _lines(context, path)
            # No line: the file is binary, or it is not what the search saw.
            if number > len(lines):
                continue
            total += 1
            if total <= _MATCHES:
                shown.append(f"{path}:{number}: {lines[number - 1][:_WIDTH]}")
            if total == _COUNTED:
                break
    if not total:
        return ToolOutcome(f"no line matches, in {counted(len(paths), 'file')}")
    if total > _MATCHES:
        least = "at least " if total == _COUNTED else ""
        shown.append(f"({least}{total - _MATCHES:,} more; narrow the pattern, or give path or glob)")
    return ToolOutcome("\n".join(shown))


def _lines(context: ToolContext, path: str) -> list[str]:
    """A file's lines as `read` shows them; none of one that holds no text."""
    try:
        return decode_file(context.files.read(path), path).redacted(context.redact).lines
    except (ToolError, FileRefused, OSError):
        return []


def _find(given: Find, context: ToolContext) -> ToolOutcome:
    paths = _files(given.path, given.glob, context)
    if not paths:
        return ToolOutcome("no file has such a name")
    rest = [f"({len(paths) - _FILES:,} more; narrow the glob)"] if len(paths) > _FILES else []
    return ToolOutcome("\n".join([*paths[:_FILES], *rest]))


def _files(path: str | None, glob: str | None, context: ToolContext) -> list[str]:
    """Files below ``path`` (None: the root) that fit ``glob``, sorted. A file that is named itself always counts."""
    files = context.files
    folder = "" if path is None else files.relative(path)
    if not files.exists(folder):
        raise ToolError(f"there is nothing at {path}")
    if not files.is_folder(folder):
        return [folder]
    prefix = f"{folder}/" if folder else ""
    paths = [file for file in list_files(files) if file.startswith(prefix)]
    if prefix and not paths:
        raise ToolError(f"{folder} holds no files, or .gitignore leaves them out")
    if glob is None:
        return paths
    pattern = read_glob(glob)
    return [file for file in paths if pattern.matches(file.removeprefix(prefix))]

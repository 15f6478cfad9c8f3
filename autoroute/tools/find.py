"""``find``: list files by a name pattern."""

from __future__ import annotations

from pydantic import Field

from autoroute.tools.arguments import GlobText, PathText
from autoroute.tools.file_list import select_files
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolOutcome

_MAX_FILES = 500


class Find(Arguments):
    """Arguments of ``find``."""

    glob: GlobText = Field(
        description="File name pattern. Without a slash it matches names at any depth (*.py), "
        "with one it matches paths relative to path (src/**/test_*.py)."
    )
    path: PathText | None = Field(default=None, description="Folder to list; the whole project by default.")


def _prepare(args: Find, context: ToolContext) -> Step:
    folder = f" in {args.path}" if args.path else ""
    return Step(f"{args.glob}{folder}", lambda: _find(args, context))


FIND = Tool(
    name="find",
    description="List files by a name pattern. Leaves out .git and files that .gitignore excludes.",
    arguments=Find,
    read_only=True,
    repeatable=True,
    prepare=_prepare,
)


def _find(args: Find, context: ToolContext) -> ToolOutcome:
    paths = select_files(context.files, args.path, args.glob)
    if not paths:
        return ToolOutcome("no files match the glob")
    rest = [f"({len(paths) - _MAX_FILES:,} more; narrow the glob)"] if len(paths) > _MAX_FILES else []
    return ToolOutcome("\n".join([*paths[:_MAX_FILES], *rest]))

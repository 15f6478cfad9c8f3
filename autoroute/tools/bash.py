"""``bash``: run a shell command in the workspace, in the sandbox that the context provides."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from pydantic import Field, StringConstraints

from autoroute.tools.arguments import Count
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome

_MAX_TIMEOUT_FACTOR = 10
"""A call may ask for at most this many times the default timeout."""


class Bash(Arguments):
    """Arguments of ``bash``."""

    command: Annotated[str, StringConstraints(min_length=1, max_length=100_000, pattern=r"\S")] = Field(
        description="A shell command, run with /bin/sh at the project's root. Each call starts a new shell."
    )
    timeout: Count | None = Field(default=None, description="Seconds after which the command is stopped.")


def _prepare(args: Bash, context: ToolContext) -> Step:
    max_timeout = _MAX_TIMEOUT_FACTOR * context.command_timeout
    timeout = args.timeout or context.command_timeout
    if timeout > max_timeout:
        raise ToolError(f"timeout: must be at most {max_timeout:g} seconds, not {timeout}")
    if "\0" in args.command:
        raise ToolError("command: contains a NUL character, which a command line cannot contain")
    return Step(args.command, lambda: _run(args.command, timeout, context))


BASH = Tool(
    name="bash",
    description=(
        "Run a shell command at the project's root and get its output and exit code. It has no terminal and no input; "
        "its processes end with it. Long output is cut in the middle."
    ),
    arguments=Bash,
    read_only=False,
    repeatable=False,
    prepare=_prepare,
)


def _run(command: str, timeout: float, context: ToolContext) -> ToolOutcome:
    log = context.logs / f"bash-{uuid4().hex[:12]}.log"
    result = context.commands.run(command, timeout=timeout, cwd=context.root, log=log)
    ending = f"exit code {result.exit_code}"
    if result.exit_code is None:
        ending = f"timed out after {timeout:g} s: the command and all its processes were stopped"
    if result.log is not None:
        ending += "; the output was cut, and the user has all of it in a log"
    output = result.output.rstrip("\n") or "(no output)"
    new = context.describe_new_files()
    return ToolOutcome(f"{output}\n({ending})" + (f"\n{new}" if new else ""), is_error=not result.passed)

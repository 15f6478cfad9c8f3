"""`bash`: a shell command in the workspace, by whatever runs commands there."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from pydantic import Field, StringConstraints

from autoroute.tools.arguments import Count
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome

_LONGEST = 10
"""A call may ask for this many times the default time."""


class Bash(Arguments):
    """What `bash` takes."""

    command: Annotated[str, StringConstraints(min_length=1, max_length=100_000, pattern=r"\S")] = Field(
        description="A shell command, run with /bin/sh at the project's root. Each call is a shell of its own."
    )
    timeout: Count | None = Field(default=None, description="Seconds after which the command is ended.")


def _prepare(given: Bash, context: ToolContext) -> Step:
    longest = _LONGEST * context.command_timeout
    timeout = given.timeout or context.command_timeout
    if timeout > longest:
        raise ToolError(f"timeout: is in seconds and at most {longest:g}, not {timeout}")
    if "\0" in given.command:
        raise ToolError("command: holds a NUL character, which no command line can")
    return Step(given.command, lambda: _run(given.command, timeout, context))


BASH = Tool(
    name="bash",
    description=(
        "Run a shell command at the project's root and get its output and exit code. It has no terminal and no input, "
        "and nothing of it goes on running afterwards. Long output is cut in the middle."
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
        ending = f"not finished after {timeout:g} s: it was stopped, with all that it had started"
    if result.log is not None:
        ending += "; the output was cut, the whole of it is kept for the user"
    output = result.output.rstrip("\n") or "(no output)"
    return ToolOutcome(f"{output}\n({ending})", is_error=not result.passed)

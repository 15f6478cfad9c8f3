"""How a run ended, on standard output: what happened, the branch, what to do, and the next commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TextIO

from autoroute.events import Outcome
from autoroute.render.clean import clean, clean_line
from autoroute.render.labels import describe_canary, describe_left_behind
from autoroute.state import RunState

_MAX_PATH_CHARACTERS = 500
_SGR_COLORS: Mapping[Outcome, int] = MappingProxyType(
    {"approved": 32, "rejected": 31, "failed": 31, "cancelled": 31, "waiting": 33, "limited": 33}
)
"""Outcome -> the color of its first line on a terminal: green, red or yellow."""


def print_result(run: RunState, stdout: TextIO, *, colored: bool = False) -> None:
    """Print the last lines of a run that has ended."""
    assert run.ended is not None, "the run has not ended"
    first, *rest = result_lines(run)
    if colored:
        first = f"\x1b[{_SGR_COLORS[run.ended.outcome]}m{first}\x1b[0m"
    stdout.write("".join(f"{line}\n" for line in (first, *rest)))
    stdout.flush()


def result_lines(run: RunState) -> list[str]:
    """Return how a sitting ended. The hint and each command have lines of their own, so that they can be copied."""
    ended, published = run.ended, run.work.published
    assert ended is not None, "the run has not ended"
    lines, commands = [_indent(ended.message)], list(_commands(run))
    cost = run.usage.cost()
    if cost:
        lines.append(f"cost ${cost:.4f}{' since it was resumed' if run.resumed else ''}")
    if published and published.branch:
        commits = f"{published.commits} commit{'s' if published.commits != 1 else ''}"
        lines.append(f"branch {clean(published.branch)}, {commits}")
    if published and published.auto_executed:
        lines.append("these files run automatically after a merge or checkout:")
        files = published.auto_executed.items()
        lines += [f"  {clean_line(path, _MAX_PATH_CHARACTERS)} ({clean(when)})" for path, when in files]
    if run.work.compared and (left := describe_left_behind(run.work.compared)):
        lines.append(f"not in the commit: {left}")
    canary = run.work.canary
    if canary is not None and canary.tested is False:
        lines.append(f"warning: {describe_canary(canary)}")
    if ended.hint and ended.hint not in commands:
        lines.append(f"hint: {_indent(ended.hint)}")
    return [*lines, *(f"  {clean(command)}" for command in commands)]


def _indent(text: str) -> str:
    """Return the text clean, its later lines indented: none of them may look like a line or a command of ours."""
    return "\n    ".join(clean(text).splitlines())


def _commands(run: RunState) -> Iterator[str]:
    """Yield the commands that make sense now, the most likely one first."""
    if run.ended and run.ended.resume:
        yield run.ended.resume
    if run.sitting is None or not run.sitting.run:
        return
    yield f"autoroute show {run.sitting.run}"
    if run.work.published and run.work.published.branch:
        yield f"autoroute diff {run.sitting.run}"
        if run.is_approved:
            yield f"autoroute merge {run.sitting.run}"

"""What ``run.json`` and ``autoroute runs`` say about a run: views of ``RunState``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoroute.state import RunState

SUMMARIZED = frozenset({"run_started", "run_resumed", "phase_started", "published", "run_ended"})
"""The types of event that a summary depends on: a list of runs reads no conversation."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of ``autoroute runs``.

    ``state`` is ``running``, ``interrupted`` (it has no end, and no process works on it), the outcome of a run that
    ended, or ``unreadable``.
    """

    id: str
    state: str
    title: str = ""
    phase: str = ""
    branch: str = ""
    commits: int = 0
    exit_code: int | None = None


def summarize(id: str, state: RunState, *, is_running: bool) -> Summary:
    """Return the summary of a run in this state; ``is_running`` says whether a process works on it."""
    if state.started is None:
        return Summary(id, "running" if is_running else "unreadable")
    if state.ended is None:
        name, exit_code = "running" if is_running else "interrupted", None
    else:
        name, exit_code = state.ended.outcome, state.ended.exit_code
    return Summary(
        id, name, state.started.title, state.position.phase or "", state.started.branch, _commits(state), exit_code
    )


def run_json(state: RunState) -> dict[str, Any]:
    """Return the content of ``run.json``: where the run came from, where it is and how it ended, without secrets."""
    started, ended = state.started, state.ended
    return {
        "run": started.run if started else "",
        "title": started.title if started else "",
        "repository": started.repository if started else "",
        "base": started.base if started else "",
        "branch": started.branch if started else "",
        "commits": _commits(state),
        "phase": state.position.phase or "",
        "outcome": ended.outcome if ended else "",
        "exit_code": ended.exit_code if ended else None,
        "message": ended.message if ended else "",
        "hint": ended.hint if ended else "",
        "routes": {phase.value: route.name for phase, route in state.routes.items()},
    }


def _commits(state: RunState) -> int:
    return state.work.published.commits if state.work.published else 0

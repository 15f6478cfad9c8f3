"""All attempts: every snippet by several routes and in several disguises, and those of the file tools."""

from __future__ import annotations

from collections.abc import Iterator

from .file_tools import FILE_TOOLS
from .guises import GUISES
from .payloads import SNIPPETS
from .routes import SECRETS, TARGETS, TO_FILE, TO_FOLDER, route
from .snippet import Attempt, Snippet, Step, Way

_FORMS = 3
"""Forms of a snippet: the first in plain sight, each other one disguised, by disguises in turn."""
_ONE_FILE_SYSTEM = 5
"""So many of the first ``TARGETS`` and ``SECRETS`` are on the file system of the workspace: hard links reach them."""


def every_attempt() -> tuple[Attempt, ...]:
    """Yield all attempts in the order of the tables, the same each time."""
    return (*(form for place, snippet in enumerate(SNIPPETS) for form in _forms(place, snippet)), *FILE_TOOLS)


def _forms(place: int, snippet: Snippet) -> Iterator[Attempt]:
    disguises = [name for name in GUISES if name != "plain"]
    for form in range(1 if snippet.once else _FORMS):
        guise = disguises[(place * (_FORMS - 1) + form) % len(disguises)] if form else "plain"
        text, by = snippet.text, ""
        if snippet.on:
            by, target = _way_to(snippet, place * _FORMS + form)
            text = f"{route(by, target)}\n{text}"
            by = f"@{by}:{target.rpartition('/')[2]}"
        way: Way = "verify" if form == _FORMS - 1 else "bash"
        steps = [Step(way, text, guise=guise)]
        if snippet.then:
            steps.append(Step("verify", snippet.then))
        if snippet.id.startswith("own-"):
            steps.append(Step("harness"))
        yield Attempt(
            f"{snippet.group}/{snippet.id}{by}#{guise}", snippet.id, snippet.group, tuple(steps), snippet.root
        )


def _way_to(snippet: Snippet, turn: int) -> tuple[str, str]:
    """Return a route and a target; successive turns go through all pairs that work."""
    routes = [*TO_FOLDER] if snippet.on.endswith("entry") else [*TO_FOLDER, *TO_FILE]
    targets = SECRETS if snippet.on.startswith("secret") else TARGETS
    by = routes[turn % len(routes)]
    reachable = targets[:_ONE_FILE_SYSTEM] if by == "hard-link" or snippet.id in _LINKING else targets
    return by, reachable[turn // 2 % len(reachable)]


_LINKING = frozenset({"hard-link-out", "linked", "exchange"})
"""What works within one file system only."""

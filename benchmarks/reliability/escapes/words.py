"""The words of this bench: a snippet, an attempt, and what came of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .guises import GUISES

Group = Literal["write", "git", "secrets", "network", "kernel", "processes"]
GROUPS: tuple[Group, ...] = ("write", "git", "secrets", "network", "kernel", "processes")
On = Literal["", "in-place", "entry", "secret", "secret-entry"]
Way = Literal["bash", "verify", "harness", "read", "write", "edit", "grep", "find"]
_TOKEN = re.compile(r"@([A-Z][A-Z0-9_]*)@")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A shell text that tries one thing; ``@NAME@`` stands for a place, a number or a word of the world.

    ``on`` is what it acts on by way of ``$T`` (and its folder ``$D``): nothing, a file it changes in place, a file it
    may replace (so that no link to it will do), or a secret in these two ways. ``root`` says that nobody but root can
    do it, held back or not.
    """

    id: str
    group: Group
    text: str
    on: On = ""
    root: bool = False
    once: bool = False
    """Whether one disguise is enough: it takes long."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call: the shell text of ``bash`` and ``verify``, the arguments of a file tool, or what we do ourselves."""

    way: Way
    text: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    guise: str = "plain"

    def fill(self, names: dict[str, str]) -> Step:
        """The same with the world's own places in it, and then in its disguise."""
        given = tuple((key, fill(value, names)) for key, value in self.arguments)
        return Step(self.way, GUISES[self.guise](fill(self.text, names)), given)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. ``snippet`` is what it is a form of; ids read ``group/snippet@route#guise``."""

    id: str
    snippet: str
    group: Group
    steps: tuple[Step, ...]
    root: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """What one attempt came to. ``evidence`` is what was seen of its success from outside, nothing when it failed."""

    attempt: str
    evidence: tuple[str, ...]
    output: str
    seconds: float


def fill(text: str, names: dict[str, str]) -> str:
    """The text with every ``@NAME@`` that the world has replaced."""
    return _TOKEN.sub(lambda found: names.get(found[1], found[0]), text)

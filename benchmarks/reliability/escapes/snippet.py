"""The types of this benchmark: a snippet, an attempt, and its outcome."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .guises import GUISES

Group = Literal["write", "mounts", "git", "secrets", "network", "kernel", "processes"]
GROUPS: tuple[Group, ...] = ("write", "mounts", "git", "secrets", "network", "kernel", "processes")
On = Literal["", "in-place", "entry", "secret", "secret-entry"]
Way = Literal["bash", "verify", "harness", "read", "write", "edit", "grep", "find"]
_TOKEN = re.compile(r"@([A-Z][A-Z0-9_]*)@")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A shell text that tries one thing; ``@NAME@`` stands for a path, a number or a word of the world.

    ``on`` is its target in ``$T`` (in the folder ``$D``): nothing, a file that it changes in place, a file that it may
    replace (so a link to it is not enough), or a secret in these two ways. ``root`` means that only root can do it, in
    a sandbox or not.
    """

    id: str
    group: Group
    text: str
    on: On = ""
    root: bool = False
    once: bool = False
    """Whether one disguise is enough: it takes long."""
    then: str = ""
    """What the next command does: it starts with mounts of its own, in a home folder and tree that this one left."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call: the shell text of ``bash`` and ``verify``, the arguments of a file tool, or our own action."""

    way: Way
    text: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    guise: str = "plain"

    def fill(self, names: dict[str, str]) -> Step:
        """Return the step with the world's values filled in, in its disguise."""
        given = tuple((key, fill(value, names)) for key, value in self.arguments)
        return Step(self.way, GUISES[self.guise](fill(self.text, names)), given)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One form of a ``snippet``; its id is ``group/snippet@route#guise``."""

    id: str
    snippet: str
    group: Group
    steps: tuple[Step, ...]
    root: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of an attempt. ``evidence`` is the success observed from outside, empty if it failed."""

    attempt: str
    evidence: tuple[str, ...]
    output: str
    seconds: float


def fill(text: str, names: dict[str, str]) -> str:
    """Return the text with every ``@NAME@`` replaced by the value of the world."""
    return _TOKEN.sub(lambda found: names.get(found[1], found[0]), text)

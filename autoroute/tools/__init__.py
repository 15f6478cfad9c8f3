"""What models may do: one file a tool (or pair of tools), one row each in ``_TOOLS``.

A tool never raises into the loop: what fails is a result that the model can act on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autoroute.events import Intent
from autoroute.messages import ToolCall, ToolSpec
from autoroute.workspace import Commands


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool call came to. ``text`` is what the model gets.

    A submit tool sets ``artefact`` to the JSON form of what it accepted.
    """

    text: str
    is_error: bool = False
    artefact: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that is ready to run: checked, with what it is about to change, and nothing changed yet."""

    summary: str
    read_only: bool
    run: Callable[[], Outcome]
    intent: Intent | None = None


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What tools work with. ``ask`` puts a question (and options) to whoever answers them.

    ``check`` looks at a submitted artefact beyond its own schema and returns complaints, none when it is good.
    """

    root: Path
    commands: Commands
    logs: Path
    command_timeout: float
    ask: Callable[[str, tuple[str, ...]], str]
    check: Callable[[str, Any], list[str]]
    read_only_commands: bool = False


class Toolbox(Protocol):
    """The tools of one conversation."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them."""
        ...

    def prepare(self, call: ToolCall) -> Prepared:
        """Check a call and make it ready. Never raises: a bad call is a ``Prepared`` whose outcome is an error."""
        ...

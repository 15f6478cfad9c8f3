"""The words of this room: a tool's row, a call made ready, its outcome, and what tools work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from autoroute.events import Intent
from autoroute.messages import ToolCall, ToolSpec
from autoroute.redaction import Redact
from autoroute.workspace import Commands
from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import PathPolicy


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a tool call came to. ``text`` is what the model gets.

    A submit tool sets ``artifact`` to the JSON form of what it accepted.
    """

    text: str
    is_error: bool = False
    artifact: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call that is ready to run: checked, with what it is about to change, and nothing changed yet.

    A call that ``needs_checkpoint`` may change anything: only a checkpoint taken before it can undo it.
    """

    summary: str
    read_only: bool
    run: Callable[[], ToolOutcome]
    intent: Intent | None = None
    needs_checkpoint: bool = False


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What tools work with. ``ask`` puts a question (and options) to whoever answers them.

    ``check`` looks at a submitted artifact beyond its own schema and returns complaints, none when it is good.
    ``command_timeout`` is in seconds. ``ripgrep`` is the path of ``rg``; without it our own search does the same.
    ``redact`` takes out of a text what no model may be told: a tool applies it to a file's whole text before it cuts
    anything, because a part of a key is found no more.
    """

    root: Path
    commands: Commands
    logs: Path
    command_timeout: float
    ask: Callable[[str, tuple[str, ...]], str]
    check: Callable[[str, Any], list[str]]
    ripgrep: str | None = None
    redact: Redact = str

    @property
    def files(self) -> Files:
        """The files beneath ``root``, as far as tools may touch them."""
        return Files(PathPolicy(self.root))


class Toolbox(Protocol):
    """The tools of one conversation."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them."""
        ...

    def prepare(self, call: ToolCall) -> PreparedCall:
        """Check a call and make it ready. A bad call gives a ``PreparedCall`` whose outcome is an error."""
        ...

    def prepare_interrupted(self, call: ToolCall, intent: Intent | None) -> PreparedCall:
        """Make a call ready that had begun, with this intent, and has no result on record.

        Nothing is done twice: a change is made unless its hashes tell that it was, what only reads or hands something
        in is done anew, and a command is never run again: its outcome is an error that says so.
        """
        ...


class ToolError(Exception):
    """A tool cannot do what was asked; the message tells the model why, and what to do instead."""


class Arguments(BaseModel):
    """What a model may pass to a tool. Every field has a description: it is all that the model knows of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Step:
    """What a tool makes of valid arguments: one line for people, the action, and the change it intends."""

    summary: str
    run: Callable[[], ToolOutcome]
    intent: Intent | None = None


Given = TypeVar("Given", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Tool(Generic[Given]):
    """A row of the table. ``read_only`` tools may run side by side: they change nothing and share nothing.

    A call that was cut off may be made again when the tool is ``repeatable``: it changes nothing but what its intent
    names. ``prepare`` may raise ``ToolError``, ``FileRefused`` or ``OSError``, and so may the step's ``run``.
    """

    name: str
    description: str
    arguments: type[Given]
    read_only: bool
    repeatable: bool
    prepare: Callable[[Given, ToolContext], Step]
    done: str = "changed"
    """Its word for a change of a file that was made: ``edited``."""
    literal: bool = True
    """Whether it acts on its arguments letter by letter: then it does nothing where a key was taken out of them."""

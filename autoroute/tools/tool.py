"""What a tool is made of: its table row, arguments, prepared call and outcome, and the context it works in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """The result of a tool call. ``text`` is what the model receives.

    A submit tool sets ``artifact`` to the JSON form of the artifact it accepted.
    """

    text: str
    is_error: bool = False
    artifact: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A checked call that is ready to run; nothing has changed yet. ``intent`` is the file change it will make.

    A call that ``needs_checkpoint`` may change anything: only a checkpoint taken before it can undo it.
    """

    summary: str
    read_only: bool
    run: Callable[[], ToolOutcome]
    intent: Intent | None = None
    needs_checkpoint: bool = False


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What tools work with. ``ask`` puts a question with options to the user and returns the answer.

    ``check`` validates a submitted artifact beyond its own schema and returns the problems, an empty list if there
    are none. ``command_timeout`` is in seconds. ``ripgrep`` is the path of ``rg``; without it, ``grep`` searches in
    Python. ``place`` is the path at which commands see ``root``, None if it is the same. ``read_only`` are folders that
    file tools do not change.
    ``find_holders`` returns which files may contain one of some words.
    ``explain_left_out`` returns why git does not take a file into commits, "" if it does. ``describe_new_files`` tells
    the model which new files of its last command will be left out of the commit, "" for none.
    ``redact`` removes what models must not see. Tools redact a file's whole text before they cut it, because
    the part of a key that a cut leaves is no longer recognized as a key.
    """

    root: Path
    commands: Commands
    logs: Path
    command_timeout: float
    ask: Callable[[str, tuple[str, ...]], str]
    check: Callable[[str, Any], list[str]]
    ripgrep: str | None = None
    redact: Redact = str
    place: Path | None = None
    explain_left_out: Callable[[str], str] = lambda _path: ""
    describe_new_files: Callable[[], str] = lambda: ""
    read_only: frozenset[str] = frozenset()
    find_holders: Callable[[Sequence[str]], Callable[[str], bool]] = lambda _words: lambda _path: True

    @property
    def files(self) -> Files:
        """The files beneath ``root`` that tools may access."""
        return Files(PathPolicy(self.root, place=self.place, read_only=self.read_only))


class Toolbox(Protocol):
    """The tools of one conversation."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Name, description and argument schema of each tool, as models receive them."""
        ...

    def prepare(self, call: ToolCall) -> PreparedCall:
        """Check a call and make it ready to run. Running an invalid call returns an error outcome."""
        ...

    def prepare_interrupted(self, call: ToolCall, intent: Intent | None) -> PreparedCall:
        """Prepare a call that was interrupted: it had started, with this intent, and has no recorded result.

        Nothing is done twice. A file change is made unless the file's hash shows that it was made. Calls that only
        read or submit are run again. A shell command is never run again: its outcome is an error that says so.
        """
        ...


class ToolError(Exception):
    """A tool cannot do what the call asks; the message tells the model why and what to do instead."""


class Arguments(BaseModel):
    """The arguments of a tool. The description of each field is all that the model learns about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Step:
    """What a tool will do with valid arguments: a one-line summary, the action, and the file change it intends."""

    summary: str
    run: Callable[[], ToolOutcome]
    intent: Intent | None = None


Args = TypeVar("Args", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Tool(Generic[Args]):
    """A row of the tool table. ``read_only`` tools may run in parallel: they change nothing and share nothing.

    An interrupted call of a ``repeatable`` tool may run again, because it changes nothing except what its intent
    names. ``prepare`` and the step's ``run`` may raise ``ToolError``, ``FileRefused`` or ``OSError``.
    """

    name: str
    description: str
    arguments: type[Args]
    read_only: bool
    repeatable: bool
    prepare: Callable[[Args, ToolContext], Step]
    past_tense: str = "changed"
    """The word for a file change that was made: ``edited``."""
    needs_exact_arguments: bool = True
    """Whether the tool acts on its arguments to the letter. It then refuses a call from which a key was redacted."""

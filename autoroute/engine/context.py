"""The fixed context of one sitting: everything that the engine works with and nothing that changes.

What changes is in ``state.RunState``, which only events change. No field is in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoroute.cancellation import CancelToken
from autoroute.engine.policy import Approval, Clock, Decider
from autoroute.engine.ports import Providers
from autoroute.routing import Phase, RunConfig, Task
from autoroute.tools import Toolbox, ToolContext, open_toolbox
from autoroute.workspace import Commands, SetupResults, Workspace

OpenToolbox = Callable[[Sequence[str], ToolContext], Toolbox]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run was started with. ``RunStarted`` records it, so that ``resume`` needs no flag again.

    ``token`` is what this machine knows the run by, ``source`` the path of the task ("" for standard input),
    ``base_ref`` what ``--base`` named. ``settings`` are those of the task's front matter, ``flags`` the command line's.
    """

    token: str = ""
    source: str = ""
    base_ref: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    include_dirty: bool = False


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Which run it is. ``resume`` is the command that continues it."""

    run: str
    task: Task
    repository: str
    branch: str
    resume: str
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True)
class Setup:
    """The user's commands that make the workspace ready for coding, and who runs them.

    ``runner`` may have a network of its own; None runs none of them. ``whole_network`` says that it reaches all that
    the machine reaches: code that a model wrote must not run there. ``results`` are those of earlier runs, None to use
    and keep none.
    """

    commands: tuple[str, ...] = ()
    runner: Commands | None = None
    whole_network: bool = False
    results: SetupResults | None = None


@dataclass(frozen=True, slots=True)
class Workbench:
    """Where models work, and with what.

    ``sandbox`` describes what confines commands; ``ripgrep`` is the path of ``rg``, if any. ``open_toolbox`` makes the
    toolbox of a phase from the names of its tools.
    """

    workspace: Workspace
    commands: Commands
    setup: Setup = Setup()
    sandbox: str = ""
    ripgrep: str | None = None
    open_toolbox: OpenToolbox = open_toolbox


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Places in the run folder: the folder for long outputs, and the file for the whole change as a patch."""

    logs: Path
    patch: Path


@dataclass(frozen=True, slots=True)
class SittingOptions:
    """What was asked of this sitting alone.

    ``until`` is its last phase. ``approval`` answers the gate that the run waits at. ``notices`` are shown first.
    """

    until: Phase | None = None
    approval: Approval | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunContext:
    """All that one sitting of a run works with.

    ``redact`` removes keys from a text before a model or a journal gets it. ``cancel`` is set from another thread.
    """

    identity: RunIdentity
    config: RunConfig
    workbench: Workbench
    providers: Providers
    decider: Decider
    clock: Clock
    files: RunFiles
    options: SittingOptions = SittingOptions()
    redact: Callable[[str], str] = str
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def workspace(self) -> Workspace:
        """The private clone that models work in."""
        return self.workbench.workspace

    @property
    def resume(self) -> str:
        """The command that continues the run."""
        return self.identity.resume

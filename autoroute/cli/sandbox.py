"""What holds commands of models back, put together from a run's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoroute.errors import AutorouteError, ConfigError
from autoroute.workspace import CommandResult, Commands

if TYPE_CHECKING:
    from autoroute.config.resolve import ResolvedConfig
    from autoroute.network import Reachable
    from autoroute.preflight.results import CheckResult
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.repository import Repository
    from autoroute.workspace.sandbox.confinement import Confinement, Sandbox

_REFUSED = 126


@dataclass(frozen=True, slots=True)
class Ground:
    """Where commands of a run are run: by ``commands``, and those of its preparation by ``setup``.

    ``words`` say what holds them back.
    """

    commands: Commands
    setup: Commands
    words: str


def choose_sandbox(
    settings: SandboxSettings, environ: Mapping[str, str], repository: Repository, *, attended: bool
) -> Sandbox | None:
    """The sandbox for runs of this repository, tried out; None where there is none and a person is asked instead.

    Raises ``SandboxMissing``, and ``WorkspaceError`` where none can be tried.
    """
    from autoroute.workspace.sandbox.backends import select_backend

    confinement, variables = terms(settings, environ, repository)
    return select_backend(settings.mode, confinement, variables, attended=attended)


def check_sandbox(
    settings: SandboxSettings, environ: Mapping[str, str], repository: Repository | None, *, attended: bool
) -> CheckResult:
    """What ``choose_sandbox`` comes to, as a row; ``repository`` is None where there is none."""
    from autoroute.preflight.surroundings import failed, sandbox_row
    from autoroute.workspace.sandbox.backends import try_backends

    try:
        candidates = try_backends(settings.mode, *terms(settings, environ, repository))
    except AutorouteError as error:
        return failed("sandbox", "machine", error)
    return sandbox_row(settings.mode, candidates, attended=attended)


def terms(
    settings: SandboxSettings, environ: Mapping[str, str], repository: Repository | None
) -> tuple[Confinement, Mapping[str, str]]:
    """What commands would be held to, in a tree that is not there yet, and the variables of their toolchains."""
    from autoroute.config.paths import workspace_folder
    from autoroute.workspace.path_policy import PathPolicy
    from autoroute.workspace.sandbox.confinement import Confinement, ResourceLimits
    from autoroute.workspace.sandbox.toolchains import find_toolchains, own_python

    try:
        extra = [Path(place).expanduser().absolute() for place in settings.readable]
    except RuntimeError as error:  # there is no such user
        raise ConfigError(f"sandbox.readable: {error}") from error
    network = settings.network.network
    if "listed" in (network, settings.setup_network.network):
        network = "listed"  # what has to be told apart for the one has to be for both
        extra.append(own_python())
    toolchains = find_toolchains(environ, extra, repository.root if repository else None)
    here = repository.root if repository else Path("/")
    allowance = ResourceLimits(processes=settings.processes, memory=settings.memory, file_size=settings.file_size)
    confinement = Confinement(
        PathPolicy(workspace_folder(environ, here, "none") / "tree"),
        readable=(*toolchains.folders, *(repository.object_folders() if repository else ())),
        hidden=toolchains.hidden,
        network=network,
        limits=allowance,
    )
    return confinement, toolchains.variables


def strongest_here(environ: Mapping[str, str]) -> str:
    """The mode that takes the strongest layer of this machine, ``off`` where there is none: for commands of our own."""
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.sandbox.backends import try_backends

    candidates = try_backends("auto", *terms(SandboxSettings(), environ, None))
    return next((candidate.backend.name for candidate in candidates if candidate.sandbox), "off")


def prepare_ground(
    settled: ResolvedConfig,
    sandbox: Sandbox | None,
    environ: Mapping[str, str],
    root: Path,
    mark: str,
    allowed: Callable[[str], bool],
    stack: ExitStack,
) -> Ground:
    """Who runs the commands of a run in its tree ``root``. Proxies that they need run until ``stack`` is closed.

    Where nothing holds commands back and nobody said that nothing shall, ``allowed`` is asked before each.
    """
    from autoroute.workspace.commands import LocalCommands
    from autoroute.workspace.path_policy import PathPolicy

    settings, redactor = settled.config.sandbox, settled.credentials.redactor
    if sandbox is None:
        plain = LocalCommands(environ, mark, None, settings.variables, redactor)
        if settings.mode == "off":
            return Ground(plain, plain, "off")
        asked = AskedCommands(plain, allowed)
        return Ground(asked, asked, "none here: asks before each command")
    confinement = replace(sandbox.confinement, path_policy=PathPolicy(root))

    def confined(reachable: Reachable) -> Commands:
        own = replace(sandbox, confinement=_connected(confinement, reachable, stack))
        return LocalCommands(environ, mark, own, settings.variables, redactor)

    commands = confined(settings.network)
    setup = confined(settings.setup_network) if settings.setup else commands
    words = f"{sandbox.backend.name}, network {settings.network}"
    return Ground(commands, setup, words)


def notices(settings: SandboxSettings, sandbox: Sandbox | None) -> Iterator[str]:
    """What the user should know about what holds commands back."""
    if sandbox is None and settings.mode == "off":
        yield "commands of models run with your user's rights: the sandbox is off"
    elif sandbox is None:
        yield "commands of models cannot be held back on this machine: each one is asked for"
    elif sandbox.backend.is_weaker:
        name = sandbox.backend.name
        yield f"commands of models are held back by {name}, which hides less than bubblewrap (docs/security.md)"
    if sandbox is not None and sandbox.note:
        yield sandbox.note
    if settings.network.network == "on":
        yield "commands of models may use the network: what they read can leave this machine"


class AskedCommands:
    """Runs commands that a person has allowed, one by one."""

    def __init__(self, commands: Commands, allowed: Callable[[str], bool]) -> None:
        self._commands = commands
        self._allowed = allowed

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        """Run it if it is allowed; see ``Commands``."""
        if not self._allowed(command):
            return CommandResult(_REFUSED, "the user did not allow this command to run\n", 0.0)
        return self._commands.run(command, timeout=timeout, cwd=cwd, log=log)

    def kill_leftovers(self) -> int:
        """Kill what is left of earlier commands."""
        return self._commands.kill_leftovers()


def _connected(confinement: Confinement, reachable: Reachable, stack: ExitStack) -> Confinement:
    """The same with this network, and with a proxy where it is a list."""
    if reachable.network != "listed":
        return replace(confinement, network=reachable.network)
    from autoroute.workspace.sandbox.proxy import Proxy

    proxy = stack.enter_context(Proxy(reachable.places, confinement.user))
    return replace(confinement, network="listed", socket=proxy.socket)

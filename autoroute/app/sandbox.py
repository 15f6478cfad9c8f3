"""The sandbox of a run: selected and tested from its settings, and the two command runners that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoroute.cancellation import CancelToken
from autoroute.errors import AutorouteError, ConfigError
from autoroute.workspace import CommandResult, Commands

if TYPE_CHECKING:
    from autoroute.config.resolve import ResolvedConfig
    from autoroute.network import NetworkAccess
    from autoroute.preflight.results import CheckResult
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.clone import PrivateClone
    from autoroute.workspace.repository import Repository
    from autoroute.workspace.sandbox.confinement import Confinement, Sandbox

_REFUSED_EXIT_CODE = 126
"""What a shell returns for a command that it found and could not execute."""


@dataclass(frozen=True, slots=True)
class RunCommands:
    """The command runners of a run: ``commands`` of models and verification, ``setup`` for preparation.

    ``description`` says what confines them, for people.
    """

    commands: Commands
    setup: Commands
    description: str


def choose_sandbox(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository,
    environments: Sequence[Path] = (),
    *,
    attended: bool,
) -> Sandbox | None:
    """Return the sandbox for runs of this repository, after its self-test.

    None means that commands run without one: it is off, or none works and ``attended`` says that a person is asked
    before each command. Raises ``SandboxMissing``, and ``WorkspaceError`` where no self-test can run.
    """
    from autoroute.workspace.sandbox.backends import select_backend

    confinement, variables = confinement_for(settings, environ, repository, environments)
    return select_backend(settings.mode, confinement, variables, attended=attended)


def check_sandbox(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository | None,
    environments: Sequence[Path] = (),
    *,
    attended: bool,
) -> tuple[CheckResult, Sandbox | None]:
    """Return what ``choose_sandbox`` comes to, as a row of doctor, and the sandbox. ``repository`` may be missing."""
    from autoroute.preflight.environment import sandbox_result
    from autoroute.preflight.results import error_result
    from autoroute.workspace.sandbox.backends import try_backends

    try:
        candidates = try_backends(settings.mode, *confinement_for(settings, environ, repository, environments))
    except AutorouteError as error:
        return error_result("sandbox", "machine", error), None
    sandbox = next((candidate.sandbox for candidate in candidates if candidate.sandbox), None)
    return sandbox_result(settings.mode, candidates, attended=attended), sandbox


def confinement_for(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository | None,
    environments: Sequence[Path] = (),
) -> tuple[Confinement, Mapping[str, str]]:
    """Return what commands are confined to, in a tree that does not exist yet, and the variables of their toolchains.

    ``environments`` are virtual ones that commands are to have in it.

    Raises ``ConfigError`` for a ``sandbox.readable`` that names an unknown user.
    """
    from autoroute.config.paths import workspace_folder
    from autoroute.workspace.path_policy import PathPolicy
    from autoroute.workspace.resource_limits import ResourceLimits
    from autoroute.workspace.sandbox.confinement import Confinement, Home
    from autoroute.workspace.sandbox.places import find_home_place, find_place
    from autoroute.workspace.sandbox.toolchains import find_toolchains, own_python

    try:
        extra = [Path(place).expanduser().absolute() for place in settings.readable]
    except RuntimeError as error:  # `~name` with no such user
        raise ConfigError(f"sandbox.readable: {error}") from error
    network = settings.network.mode
    if "listed" in (network, settings.setup_network.mode):
        # The self-test covers the proxy if either kind of command needs it.
        network = "listed"
        extra.append(own_python())
    toolchains = find_toolchains(environ, extra, repository.root if repository else None, environments)
    place = find_place(repository.root) if repository else None
    folder = workspace_folder(environ, repository.root if repository else Path("/"), "none")
    limits = ResourceLimits(processes=settings.processes, memory=settings.memory, file_size=settings.file_size)
    confinement = Confinement(
        PathPolicy(folder / "tree", place=place),
        readable=toolchains.folders,
        objects=repository.shared_objects if repository else None,
        home=Home(folder / "home", find_home_place(environ, place, toolchains.folders)),
        hidden=toolchains.hidden,
        network=network,
        limits=limits,
    )
    return confinement, toolchains.variables


def confine_to(workspace: PrivateClone, confinement: Confinement, *, has_home: bool = True) -> Confinement:
    """Return the confinement in which commands work in this workspace.

    Unless it ``has_home``, each command gets a home folder of its own.
    """
    from autoroute.workspace.path_policy import PathPolicy

    home = replace(confinement.home, folder=workspace.home) if confinement.home and has_home else None
    return replace(confinement, path_policy=PathPolicy(workspace.root, place=workspace.place), home=home)


def strongest_here(environ: Mapping[str, str]) -> str:
    """Return the mode of the strongest sandbox that works on this machine, ``off`` without one."""
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.sandbox.backends import try_backends

    candidates = try_backends("auto", *confinement_for(SandboxSettings(), environ, None))
    return next((candidate.backend.name for candidate in candidates if candidate.sandbox), "off")


def open_commands(
    resolved: ResolvedConfig,
    sandbox: Sandbox | None,
    environ: Mapping[str, str],
    workspace: PrivateClone,
    allow: Callable[[str], bool],
    stack: ExitStack,
    cancel: CancelToken,
) -> RunCommands:
    """Return what runs the commands of a run in its workspace. Their proxies live until ``stack`` is closed.

    Without a sandbox that the user switched off on purpose, ``allow`` is asked before each command.
    """
    from autoroute.workspace.commands import LocalCommands
    from autoroute.workspace.resource_limits import UNLIMITED_BYTES

    settings, redactor, mark = resolved.config.sandbox, resolved.credentials.redactor, workspace.mark
    setup_variables = (*settings.variables, *settings.setup_variables)
    redactor.learn(environ[name] for name in settings.setup_variables if name in environ)
    if sandbox is None:
        layers = workspace.layers
        plain, setup_plain = (
            LocalCommands(environ, mark, None, passed, redactor, cancel, layers=layers)
            for passed in (settings.variables, setup_variables)
        )
        if settings.mode == "off":
            return RunCommands(plain, setup_plain, "off")
        asked, setup_asked = AskedCommands(plain, allow), AskedCommands(setup_plain, allow)
        return RunCommands(asked, setup_asked, "unavailable: each command needs approval")
    has_home = resolved.config.workspace.cache != "none"
    confinement = confine_to(workspace, sandbox.confinement, has_home=has_home)

    def confined(terms: Confinement, access: NetworkAccess, passed: Sequence[str] = settings.variables) -> Commands:
        own = replace(sandbox, confinement=_with_network(terms, access, stack), layers=workspace.layers)
        return LocalCommands(environ, mark, own, passed, redactor, cancel)

    commands = setup = confined(confinement, settings.network)
    if settings.setup:
        # Package managers unpack and compile there more than memory may hold.
        terms = replace(
            confinement,
            temporary=workspace.temporary,
            limits=replace(confinement.limits, file_size=UNLIMITED_BYTES),
        )
        setup = confined(terms, settings.setup_network, setup_variables)
    return RunCommands(commands, setup, f"{sandbox.backend.name}, network {settings.network}")


def sandbox_notices(settings: SandboxSettings, sandbox: Sandbox | None) -> Iterator[str]:
    """Yield what the user should know about the sandbox."""
    if sandbox is None and settings.mode == "off":
        yield "sandbox is off: model commands run with your permissions"
    elif sandbox is None:
        yield "no sandbox works on this machine: you are asked before each command"
    elif sandbox.backend.is_weaker:
        yield f"sandbox {sandbox.backend.name} hides less than bubblewrap (docs/concepts/security.md)"
    if sandbox is not None and sandbox.note:
        yield sandbox.note
    if settings.network.mode == "on":
        yield "model commands have network access: what they read can leave this machine"


class AskedCommands:
    """A command runner that asks for approval before each command."""

    def __init__(self, commands: Commands, allow: Callable[[str], bool]) -> None:
        self._commands = commands
        self._allow = allow

    def run(self, command: str, *, timeout: float, cwd: Path, log: Path) -> CommandResult:
        """Run the command if it is approved; see ``Commands``."""
        if not self._allow(command):
            return CommandResult(_REFUSED_EXIT_CODE, "the user did not allow this command to run\n", 0.0)
        return self._commands.run(command, timeout=timeout, cwd=cwd, log=log)

    def kill_leftovers(self) -> int:
        """Kill the processes that earlier commands left running; return how many there were."""
        return self._commands.kill_leftovers()


def _with_network(confinement: Confinement, access: NetworkAccess, stack: ExitStack) -> Confinement:
    """Return the confinement with this network, through a proxy where it is a list of hosts."""
    if access.mode != "listed":
        return replace(confinement, network=access.mode)
    from autoroute.workspace.sandbox.proxy import Proxy

    proxy = stack.enter_context(Proxy(access.addresses, confinement.user))
    return replace(confinement, network="listed", socket=proxy.socket)

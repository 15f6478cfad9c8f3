"""Which layer holds commands back on this machine: the strongest that is here and was seen to work."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoroute.errors import SandboxMissing, WorkspaceError, map_resource_error
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.sandbox.bubblewrap import Bubblewrap
from autoroute.workspace.sandbox.confinement import Backend, Confinement, Sandbox, Unavailable
from autoroute.workspace.sandbox.landlock import Landlock
from autoroute.workspace.sandbox.proxy import Proxy
from autoroute.workspace.sandbox.seatbelt import Seatbelt

BACKENDS: tuple[Backend, ...] = (Bubblewrap(), Seatbelt(), Landlock())
"""Strongest first; a system has one or two of them."""
OTHER_USER = 60_990
"""Who commands run as when root runs autoroute: an id that no package and no login uses."""
_PROBE_SECONDS = 20.0
_ROOM_FILES, _ROOM_BYTES = 32, 4_096
"""What the command of the probe takes, and more."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What became of a layer: what it lacks to be used here, None when it works as ``sandbox``."""

    backend: Backend
    unavailable: Unavailable | None = None
    sandbox: Sandbox | None = None

    @property
    def reason(self) -> str:
        """Why it cannot be used, "" when it works."""
        return self.unavailable.words if self.unavailable else ""


def select_backend(
    mode: str,
    confinement: Confinement,
    variables: Mapping[str, str],
    *,
    attended: bool,
    layers: Sequence[Backend] = BACKENDS,
) -> Sandbox | None:
    """The sandbox for a run; None when ``mode`` is ``off``, or when a person is there to be asked for each command.

    ``mode`` is ``auto``, ``off`` or a layer's name. Raises ``SandboxMissing``, which says of each layer why not, and
    ``WorkspaceError`` where none can be tried.
    """
    return choose_sandbox(mode, try_backends(mode, confinement, variables, layers), attended=attended)


def choose_sandbox(mode: str, candidates: Sequence[Candidate], *, attended: bool) -> Sandbox | None:
    """What ``select_backend`` takes of the layers that were tried for this ``mode``."""
    if mode == "off":
        return None
    chosen = next(
        (
            candidate.sandbox
            for candidate in candidates
            if candidate.sandbox and _fits(mode, candidate.backend, attended)
        ),
        None,
    )
    if chosen is not None or (attended and mode == "auto"):
        return chosen
    if mode != "auto":
        (candidate,) = candidates
        raise SandboxMissing(
            f"{mode} cannot hold commands of models back here: {candidate.reason}", hint=_other_way(candidate)
        )
    words = "; ".join(
        f"{candidate.backend.name}: {candidate.reason or 'hides less, so it has to be asked for'}"
        for candidate in candidates
    )
    raise SandboxMissing(f"commands of models cannot be held back on this machine: {words}", hint=_way_out(candidates))


def try_backends(
    mode: str, confinement: Confinement, variables: Mapping[str, str], layers: Sequence[Backend] = BACKENDS
) -> list[Candidate]:
    """Try the layers for ``mode``, strongest first, until one works; ``auto`` leaves out those of other systems.

    Raises ``WorkspaceError`` where the machine, and no layer, is why they cannot be tried: that says nothing of them.
    """
    candidates: list[Candidate] = []
    for layer in layers:
        if mode not in ("auto", layer.name):
            continue
        lack = layer.missing()
        if mode == "auto" and lack and lack.kind == "system":
            continue
        if not lack and confinement.network == "listed" and not layer.supports_allowlist():
            lack = Unavailable("network", "it cannot tell one address from another: the network is on or off")
        candidates.append(Candidate(layer, lack) if lack else _try(layer, confinement, variables))
        if candidates[-1].sandbox is not None:
            break
    return candidates


def _fits(mode: str, layer: Backend, attended: bool) -> bool:
    return attended or mode == layer.name or not layer.is_weaker


def _way_out(candidates: Sequence[Candidate]) -> str:
    if any(candidate.sandbox for candidate in candidates):
        return "install bubblewrap, or say --sandbox landlock; docs/concepts/security.md says what that leaves open"
    kinds = {candidate.unavailable.kind for candidate in candidates if candidate.unavailable}
    install = "install bubblewrap; or " if "bubblewrap" in kinds else ""
    unlisted = "say --network off; or " if "network" in kinds else ""
    return f"{install}{unlisted}say --sandbox off where the machine is itself a sandbox"


def _other_way(named: Candidate) -> str:
    """What to do where the one layer that was asked for cannot be used."""
    match named.unavailable.kind if named.unavailable else "machine":
        case "network":
            return "say --sandbox bubblewrap, or --network off"
        case "bubblewrap":
            return "install bubblewrap, or say --sandbox auto"
        case _:
            return "say --sandbox auto"


def _try(layer: Backend, confinement: Confinement, variables: Mapping[str, str]) -> Candidate:
    """A layer as it would be used, once it has held back a command that tries its bounds."""
    user, note = _another_user(layer, confinement)
    sandbox = Sandbox(layer, replace(confinement, user=user), dict(variables), note)
    why = probe(sandbox)
    if why and user is not None:
        note = f"commands run as root, because as another user they do not run: {why}"
        sandbox = Sandbox(layer, confinement, dict(variables), note)
        why = probe(sandbox)
    return Candidate(layer, Unavailable("machine", why)) if why else Candidate(layer, sandbox=sandbox)


def _another_user(layer: Backend, confinement: Confinement) -> tuple[int | None, str]:
    """Who is to run commands in root's place, or why nobody is."""
    if os.geteuid() != 0:
        return None, ""
    closed = next((str(folder) for folder in confinement.readable if not _is_open(folder)), "")
    if closed and not layer.bypasses_permissions:
        return None, f"commands run as root: no other user may read {closed}"
    return OTHER_USER, ""


def _is_open(folder: Path) -> bool:
    """Whether everybody may read it."""
    try:
        facts = folder.stat()
    except OSError:
        return False
    return bool(facts.st_mode & (stat.S_IXOTH if stat.S_ISDIR(facts.st_mode) else stat.S_IROTH))


def probe(sandbox: Sandbox) -> str:
    """Why a sandbox does not hold or does not work, "" when it does both: the production command line, tried out.

    A command must write in its tree, and must neither read nor write beside it. Raises ``WorkspaceError`` where that
    cannot be tried for want of a place to write, or of what the machine has run out of.
    """
    confinement, place = sandbox.confinement, sandbox.confinement.path_policy.root.parent.parent
    with _scratch(place) as folder, ExitStack() as stack:
        try:
            if confinement.network == "listed":
                proxy = stack.enter_context(Proxy([], confinement.user))
                sandbox = replace(sandbox, confinement=replace(confinement, socket=proxy.socket))
            return _probe_in(folder, sandbox)
        except OSError as error:
            if failure := map_resource_error(error):
                raise failure from None
            return f"it cannot be tried: {error.strerror or error}"


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A folder in ``place``, which is made, with room for what a probe does."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix="probe-", dir=place)
    except OSError as error:
        raise _unwritable(place, error) from None
    with scratch as folder:
        try:
            with ExitStack() as open_files:
                for number in range(_ROOM_FILES):
                    path = Path(folder, f"room-{number}")
                    open_files.enter_context(path.open("wb", buffering=0)).write(bytes(_ROOM_BYTES))
        except OSError as error:
            raise _unwritable(place, error) from None
        yield Path(folder)


def _unwritable(place: Path, error: OSError) -> WorkspaceError:
    failure = map_resource_error(error)
    hint = failure.hint if failure else "check that you may write there"
    return WorkspaceError(f"{place} cannot be written: {error.strerror or error}", hint=hint)


def _probe_in(folder: Path, sandbox: Sandbox) -> str:
    tree, secret = folder / "tree", secrets.token_hex(8)
    tree.mkdir()
    (folder / "secret").write_text(secret, encoding="ascii")
    if sandbox.confinement.user is not None:
        os.chown(tree, sandbox.confinement.user, sandbox.confinement.user)
    confinement = replace(sandbox.confinement, path_policy=PathPolicy(tree))
    commands = LocalCommands(sandbox.variables, sandbox=replace(sandbox, confinement=confinement))
    attack = "cat ../secret 2>/dev/null; (echo out > ../written) 2>/dev/null"
    work = "echo in > written && git init --quiet repository && git -C repository status >/dev/null && echo works"
    command = f"{attack}; {work}"
    result = commands.run(command, timeout=_PROBE_SECONDS, cwd=tree, log=folder / "log")
    if secret in result.output or (folder / "written").exists():
        return "it does not hold: a command reached what is outside"
    if result.output == "works\n" and (tree / "written").is_file():
        return ""
    said = " ".join(result.output.split())[:300]
    return f"it does not work here: {said or 'no output'}"

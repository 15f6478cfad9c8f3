"""Selecting the sandbox backend for this machine: the strongest one that passes a self-test."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
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
from autoroute.workspace.sandbox.namespaces import find_namespace_bar
from autoroute.workspace.sandbox.proxy import Proxy
from autoroute.workspace.sandbox.seatbelt import Seatbelt

BACKENDS: tuple[Backend, ...] = (Bubblewrap(), Seatbelt(), Landlock())
"""All backends, strongest first; each system has one or two of them."""
SANDBOX_UID = 60_990
"""The user id that commands run as when root runs autoroute: one that no package and no login uses."""
_SELF_TEST_TIMEOUT_SECONDS = 20.0
_RESERVED_FILES, _RESERVED_FILE_BYTES = 32, 4_096
"""More disk space and open files than the self-test needs."""
_MAX_REASON_CHARACTERS = 300
_ALLOW_NAMESPACES = "let bubblewrap make user namespaces (docs/guides/sandbox.md has the AppArmor profile)"
_EXHAUSTED = ((errno.EAGAIN, "Resource temporarily unavailable"), (errno.ENOSPC, "No space left on device"))
"""What programs of the self-test say when the machine has no process or space left; it is not the backend's fault."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend that was tried: either the ``sandbox`` that passed the self-test, or why it is ``unavailable``."""

    backend: Backend
    unavailable: Unavailable | None = None
    sandbox: Sandbox | None = None

    @property
    def reason(self) -> str:
        """Why it cannot be used, "" if it can."""
        return self.unavailable.reason if self.unavailable else ""


def select_backend(
    mode: str,
    confinement: Confinement,
    variables: Mapping[str, str],
    *,
    attended: bool,
    backends: Sequence[Backend] = BACKENDS,
) -> Sandbox | None:
    """Try the backends for ``mode`` (``auto``, ``off`` or a name), and return the sandbox to use.

    Return None when ``mode`` is ``off``, and when none works but a person is there (``attended``) to be asked before
    each command. Raises ``SandboxMissing`` with the reason for each backend, and ``WorkspaceError`` when the machine
    prevents the self-test.
    """
    return choose_sandbox(mode, try_backends(mode, confinement, variables, backends), attended=attended)


def choose_sandbox(mode: str, candidates: Sequence[Candidate], *, attended: bool) -> Sandbox | None:
    """Return the sandbox to use of the backends that were tried for ``mode``; see ``select_backend``."""
    if mode == "off":
        return None
    usable = (
        candidate.sandbox
        for candidate in candidates
        if candidate.sandbox and _is_acceptable(mode, candidate.backend, attended)
    )
    chosen = next(usable, None)
    if chosen is not None or (attended and mode == "auto"):
        return chosen
    if mode != "auto":
        (candidate,) = candidates
        raise SandboxMissing(f"sandbox {mode} is not available: {candidate.reason}", hint=_hint_for_named(candidate))
    reasons = "; ".join(
        f"{candidate.backend.name}: {candidate.reason or 'works, but is weaker and has to be requested'}"
        for candidate in candidates
    )
    raise SandboxMissing(f"no sandbox is available on this machine: {reasons}", hint=_hint_for_auto(candidates))


def try_backends(
    mode: str, confinement: Confinement, variables: Mapping[str, str], backends: Sequence[Backend] = BACKENDS
) -> list[Candidate]:
    """Try the backends for ``mode``, strongest first, until one works; ``auto`` skips those of other systems.

    Raises ``WorkspaceError`` when the machine prevents the self-test, for example with a full disk. It would be
    wrong then to call a backend unavailable and to continue with a weaker one.
    """
    candidates: list[Candidate] = []
    for backend in backends:
        if mode not in ("auto", backend.name):
            continue
        unavailable = backend.check_available()
        if mode == "auto" and unavailable and unavailable.kind == "system":
            continue
        if not unavailable and confinement.network == "listed" and not backend.supports_allowlist():
            unavailable = Unavailable("network", "it cannot restrict the network to listed addresses")
        candidates.append(
            Candidate(backend, unavailable) if unavailable else _try_backend(backend, confinement, variables)
        )
        if candidates[-1].sandbox is not None:
            break
    return candidates


def _is_acceptable(mode: str, backend: Backend, attended: bool) -> bool:
    return attended or mode == backend.name or not backend.is_weaker


def _hint_for_auto(candidates: Sequence[Candidate]) -> str:
    if any(candidate.sandbox for candidate in candidates):
        barred = any(candidate.unavailable and candidate.unavailable.kind == "namespaces" for candidate in candidates)
        mend = _ALLOW_NAMESPACES if barred else "install bubblewrap"
        return f"{mend}, or use --sandbox landlock (docs/concepts/security.md says what it leaves open)"
    kinds = {candidate.unavailable.kind for candidate in candidates if candidate.unavailable}
    options = [
        *(["install bubblewrap"] if "bubblewrap" in kinds else []),
        *([_ALLOW_NAMESPACES] if "namespaces" in kinds else []),
        *(["use --network off"] if "network" in kinds else []),
        "use --sandbox off if this machine is itself a sandbox",
    ]
    return "; or ".join(options)


def _hint_for_named(candidate: Candidate) -> str:
    """Return what to do when the backend that the user named cannot be used; this never suggests to do without one."""
    match candidate.unavailable.kind if candidate.unavailable else "machine":
        case "network":
            return "use --sandbox bubblewrap, or --network off"
        case "bubblewrap":
            return "install bubblewrap, or use --sandbox auto"
        case "namespaces":
            return f"{_ALLOW_NAMESPACES}; or use --sandbox auto"
        case _:
            return "use --sandbox auto"


def _try_backend(backend: Backend, confinement: Confinement, variables: Mapping[str, str]) -> Candidate:
    """Return the backend as it would be used, after the self-test."""
    user, note = _find_other_user(backend, confinement)
    sandbox = Sandbox(backend, replace(confinement, user=user), dict(variables), note)
    reason = run_self_test(sandbox)
    if reason and sandbox.place is not None:
        own_place = replace(confinement.path_policy, place=None)
        elsewhere = replace(sandbox, confinement=replace(sandbox.confinement, path_policy=own_place, home=None))
        if not run_self_test(elsewhere):
            return Candidate(backend, sandbox=replace(elsewhere, note=_describe_elsewhere(sandbox, reason)))
    if reason and user is not None:
        note = f"model commands run as root: they fail as another user ({reason})"
        sandbox = Sandbox(backend, confinement, dict(variables), note)
        reason = run_self_test(sandbox)
    if not reason:
        return Candidate(backend, sandbox=sandbox)
    # Root mounts without a user namespace.
    return Candidate(backend, explain_failure(backend, reason, find_namespace_bar() if os.geteuid() != 0 else ""))


def explain_failure(backend: Backend, reason: str, namespace_bar: str) -> Unavailable:
    """Return why a backend failed its self-test: a bar to user namespaces, if it needs them and there is one.

    The words of ``bwrap`` alone ("Permission denied") do not say so.
    """
    if backend.mounts and namespace_bar:
        return Unavailable("namespaces", f"it may not make a user namespace: {namespace_bar}")
    return Unavailable("machine", reason)


def _describe_elsewhere(sandbox: Sandbox, reason: str) -> str:
    note = f"commands do not see the workspace at {sandbox.place}: {reason}"
    return f"{sandbox.note}; {note}" if sandbox.note else note


def _find_other_user(backend: Backend, confinement: Confinement) -> tuple[int | None, str]:
    """Return the user that runs commands in place of root, or None and a note if root has to.

    As root, even with a sandbox, commands would be exempt from the limit on processes.
    """
    if os.geteuid() != 0:
        return None, ""
    closed = next((str(folder) for folder in confinement.readable if not _is_world_readable(folder)), "")
    if closed and not backend.bypasses_permissions:
        return None, f"model commands run as root: other users cannot read {closed}"
    return SANDBOX_UID, ""


def _is_world_readable(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return bool(status.st_mode & (stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH))


def run_self_test(sandbox: Sandbox) -> str:
    """Return why a sandbox does not confine commands or does not run them, "" if it does both.

    The test uses the arguments of real commands: a backend that is installed may still not work, and a check that only
    runs ``bwrap --version`` does not notice. A command has to write in its tree and to fail outside it. Raises
    ``WorkspaceError`` when the folder for the test cannot be written or the machine has run out of a resource.
    """
    confinement, place = sandbox.confinement, sandbox.confinement.path_policy.root.parent.parent
    with _test_folder(place) as folder, ExitStack() as stack:
        try:
            if confinement.network == "listed":
                proxy = stack.enter_context(Proxy([], confinement.user))
                sandbox = replace(sandbox, confinement=replace(confinement, socket=proxy.socket))
            return _run_test_command(folder, sandbox)
        except OSError as error:
            if failure := map_resource_error(error):
                raise failure from None
            return f"it cannot be started: {error.strerror or error}"


@contextmanager
def _test_folder(place: Path) -> Iterator[Path]:
    """Create a folder in ``place``, after checking that there is room for what the self-test does."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix="probe-", dir=place)
    except OSError as error:
        raise _unwritable(place, error) from None
    with temporary as folder:
        try:
            with ExitStack() as open_files:
                for number in range(_RESERVED_FILES):
                    path = Path(folder, f"room-{number}")
                    open_files.enter_context(path.open("wb", buffering=0)).write(bytes(_RESERVED_FILE_BYTES))
        except OSError as error:
            raise _unwritable(place, error) from None
        yield Path(folder)


def _unwritable(place: Path, error: OSError) -> WorkspaceError:
    failure = map_resource_error(error)
    hint = failure.hint if failure else "check that you may write there"
    return WorkspaceError(f"{place} cannot be written: {error.strerror or error}", hint=hint)


def _run_test_command(folder: Path, sandbox: Sandbox) -> str:
    tree, secret = folder / "tree", secrets.token_hex(8)
    tree.mkdir()
    (folder / "secret").write_text(secret, encoding="ascii")
    home = folder / "home"
    home.mkdir()
    if sandbox.confinement.user is not None:
        for own in (tree, home):
            os.chown(own, sandbox.confinement.user, sandbox.confinement.user)
    confinement = sandbox.confinement
    confinement = replace(
        confinement,
        path_policy=PathPolicy(tree, place=confinement.path_policy.place),
        home=replace(confinement.home, folder=home) if confinement.home else None,
    )
    commands = LocalCommands(sandbox.variables, sandbox=replace(sandbox, confinement=confinement))
    outside = shlex.quote(str(folder))
    attack = (
        f"cat {outside}/secret ../secret 2>/dev/null; (echo out > {outside}/written) 2>/dev/null; "
        "(echo out > ../written) 2>/dev/null"
    )
    work = "echo in > written && git init --quiet repository && git -C repository status >/dev/null && echo works"
    command = f"{attack}; {work}"
    result = commands.run(command, timeout=_SELF_TEST_TIMEOUT_SECONDS, cwd=tree, log=folder / "log")
    if secret in result.output or (folder / "written").exists():
        return "its self-test failed: a command reached files outside its folder"
    if result.output == "works\n" and (tree / "written").is_file():
        return ""
    for number, words in _EXHAUSTED:
        if words in result.output and (failure := map_resource_error(OSError(number, words))):
            raise failure
    output = " ".join(result.output.split())[:_MAX_REASON_CHARACTERS]
    return f"its self-test failed: {output or 'no output'}"

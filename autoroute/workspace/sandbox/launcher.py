"""A program that starts one command under Landlock and seccomp, and leaves no process of it running.

Run as ``python -I -S launcher.py TERMS COMMAND``, where TERMS is marshaled by ``landlock.py``, in hexadecimal. It waits
for the command as a subreaper: processes that the command leaves behind, in any session, become its children and are
killed. It exits with the exit code of the command, with 128 and the number of a signal that killed the command, or with
126 when it cannot create the sandbox.

It imports nothing from autoroute, and little else, because it starts for each command: json, typing, contextlib and
signal (for its enum) take as long to import as Python takes to start.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    import _signal as signal

# Numbers of system calls, options and rights, from the headers of the kernel: Python has no names for them.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_SET_PDEATHSIG, _SET_KEEPCAPS, _SET_SECCOMP, _CAPBSET_READ, _CAPBSET_DROP = 1, 8, 22, 23, 24
_SET_SECUREBITS, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS, _CAP_AMBIENT = 28, 36, 38, 47
_NO_SETUID_FIXUP, _RAISE = 1 << 2, 2
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_SECCOMP_FILTER = 2
_READS = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
# Write a file; remove folders and files; create folders, files, sockets, pipes and links, but no devices.
_WRITES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12
_CREATE_DEVICES = 1 << 6 | 1 << 11
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | _TRUNCATE | _IOCTL
_TCP = 0b11  # bind and connect
_SCOPES = 0b11  # abstract Unix sockets and signals: only within the sandbox
_GRACE_SECONDS = 1.0
_WAIT_SECONDS = 0.1
_POLL_SECONDS = 0.01
_CANNOT_EXECUTE = 126

_libc = ctypes.CDLL(None, use_errno=True)


def main(terms: dict[str, Any], command: str) -> int:
    """Start the command, wait for it, and kill what it left running; return the exit code."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != terms["parent"]:
        return _CANNOT_EXECUTE  # autoroute ended before PDEATHSIG was set, and the signal will never come
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: signals.append(number))
    try:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _execute(terms, command)
        status = _wait(child, signals)
    finally:
        _kill_children()
    if status is None:
        return 128 + signal.SIGTERM
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _wait(child: int, signals: list[int]) -> int | None:
    """Return the wait status of the command; None if it did not end soon after a SIGTERM in ``signals``."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        if signals and deadline == float("inf"):
            deadline = time.monotonic() + _GRACE_SECONDS
            _signal_if_there(os.killpg, child, signal.SIGTERM)  # it may lead no process group yet
            os.kill(child, signal.SIGTERM)
        # This also reaps orphans of the command, which become our children.
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return status
        if pid == 0:
            # The end of a child ends this wait early.
            signal.sigtimedwait([signal.SIGCHLD], _WAIT_SECONDS if not signals else _POLL_SECONDS)
    return None


def _kill_children() -> None:
    """Kill all children until there are none: when one dies, its own children become ours."""
    while True:
        children = _children()
        for pid in children:
            _signal_if_there(os.kill, pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_POLL_SECONDS if children else 0)


def _signal_if_there(send: Callable[[int, int], None], receiver: int, number: int) -> None:
    try:  # noqa: SIM105 - starts faster without contextlib
        send(receiver, number)
    except ProcessLookupError:
        pass


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123 - starts faster without
        return [int(pid) for pid in file.read().split()]


def _execute(terms: dict[str, Any], command: str) -> NoReturn:
    """Confine this process, then replace it by the command."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a shell cannot reset that
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for name, value in terms["limits"].items():
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        _drop_privileges(terms["user"])
        # Without it, a setuid program could regain privileges; Landlock and seccomp require it.
        _prctl(_SET_NO_NEW_PRIVS, 1)
        _apply_landlock(terms)
        _apply_seccomp(bytes.fromhex(terms["filter"]))
        os.execv("/bin/sh", ["/bin/sh", "-c", command])
    except OSError as error:
        os.write(2, f"cannot create the sandbox: {error}\n".encode())
    finally:
        os._exit(_CANNOT_EXECUTE)  # whatever happened, nothing may run unconfined


def _drop_privileges(user: int | None) -> None:
    """Replace root by ``user``, who owns only the tree; without one, remain root but drop all capabilities.

    The path to the tree leads through private folders of root, so ``user`` keeps the capability to search folders;
    Landlock still decides what can be read.
    """
    if os.geteuid() != 0:
        return
    search = next((c for c in (_DAC_READ_SEARCH, _DAC_OVERRIDE) if _libc.prctl(_CAPBSET_READ, c, 0, 0, 0) == 1), None)
    kept = search if user is not None else None
    for capability in range(64):
        if capability != kept:
            _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    if user is not None:
        _prctl(_SET_KEEPCAPS, 1)
        # Otherwise access(2) ignores the kept capability, and git does not find the repository below a folder of root.
        _prctl(_SET_SECUREBITS, _NO_SETUID_FIXUP)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    mask = 0 if kept is None else 1 << kept
    header, sets = struct.pack("=Ii", 0x2008_0522, 0), struct.pack("=6I", mask, mask, mask, 0, 0, 0)
    number = {"x86_64": 126, "aarch64": 91}[os.uname().machine]
    _check(_libc.syscall(number, header, sets), "capset")
    if kept is not None:
        _check(_libc.prctl(_CAP_AMBIENT, _RAISE, kept, 0, 0), "prctl ambient")


def _apply_landlock(terms: dict[str, Any]) -> None:
    """Apply Landlock, which refuses every access that it handles and no rule allows."""
    handled = _READS | _WRITES | _CREATE_DEVICES | _REFER | _TRUNCATE | _IOCTL
    attributes = struct.pack("=QQQ", handled, _TCP if terms["tcp"] else 0, _SCOPES)
    ruleset = _check(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    for path, rights in (
        *((path, _READS) for path in terms["readable"]),
        *((path, _READS | _WRITES | _REFER | _TRUNCATE) for path in terms["writable"]),
        *((path, _READS | 1 << 1 | _IOCTL) for path in terms["devices"]),
    ):
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        is_folder = os.path.isdir(path)  # noqa: PTH112 - starts faster without
        # The kernel rejects a rule that gives rights of folders to a file.
        allowed = rights & handled & (-1 if is_folder else _FILE_RIGHTS)
        rule = struct.pack("=Qi", allowed, handle)
        _check(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(handle)
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _apply_seccomp(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(_SET_SECCOMP, _SECCOMP_FILTER, filter_, 0, 0), "seccomp")


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    sys.exit(main(marshal.loads(bytes.fromhex(sys.argv[1])), sys.argv[2]))

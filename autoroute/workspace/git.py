"""The only module that runs git: with a private environment, and hardened against the configuration of a repository.

git runs programs that configuration names: of 28 ways to plant one in ``.git/config``, 19 ran under an ordinary
``git status``, ``diff``, ``add`` or ``commit``. The settings below leave filters and merge drivers, which have names of
their own; ``find_driver_overrides`` disables filters by name, and nothing here merges but ``users_git``.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO

from autoroute.errors import WorkspaceError
from autoroute.patterns import pattern

_TIMEOUT_SECONDS = 600.0
_EXIT_SECONDS = 10.0
"""How long a canceled git may take to finish, and then to react to SIGTERM."""
_MAX_ERROR_CHARACTERS = 2_000
_MIN_VERSION = (2, 31)
_INSTALL_HINT = f"install git {_MIN_VERSION[0]}.{_MIN_VERSION[1]} or newer"
_LOCAL_ONLY = MappingProxyType({"GIT_ALLOW_PROTOCOL": "file", "GIT_NO_LAZY_FETCH": "1"})
"""Variables that win over any configuration: no transport but local files, and no fetch of missing objects."""
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR"})
_CONFIGURATION_VARIABLES = pattern(
    r"GIT_CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+|PARAMETERS)|GIT_(?:AUTHOR|COMMITTER)_(?:NAME|EMAIL)|EMAIL"
)
"""Where the user's own settings and identity are, as in many CI jobs. The dates are not theirs to fix: commits are new.

What such a setting names does not run either: git reads it as it reads ``~/.gitconfig``, before ``-c`` and HARDENING.
"""
_SIGNING_VARIABLES = frozenset(
    {
        *("SSH_AUTH_SOCK", "GNUPGHOME", "GPG_TTY", "TERM", "PINENTRY_USER_DATA"),
        *("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"),
    }
)
"""What the programs that sign a commit of the user, and ask for a passphrase, need to work."""

HARDENING = (
    # Programs that a configuration can name.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",  # run by every git status
    "core.untrackedCache=false",
    "core.pager=cat",
    "core.sshCommand=/bin/false",
    "core.alternateRefsCommand=true",  # ``true`` is a program here: it does nothing
    "core.askPass=true",
    "credential.helper=",  # an empty value clears the list of helpers
    "commit.gpgSign=false",  # gpg.program
    # Names that are ``.git`` on macOS and Windows.
    "core.protectHFS=true",
    "core.protectNTFS=true",
    # Transports: ``ext::`` runs a command, others leave the machine.
    "protocol.allow=never",
    "protocol.file.allow=always",
    # Other repositories, with configuration of their own.
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "safe.bareRepository=explicit",  # one that was committed as plain files
    # Objects that a model may have forged; without the levels, a configuration could ignore what the check finds.
    "fetch.fsckObjects=true",
    *(f"fetch.fsck.{name}=error" for name in ("hasDotgit", "hasDot", "hasDotdot")),
    *(f"fetch.fsck.gitmodules{name}=error" for name in ("Name", "Path", "Url", "Update", "Symlink")),
    # Side effects on the user's refs and objects.
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.writeCommitGraph=false",
    "fetch.bundleURI=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
    # Output and results that would differ from user to user.
    "advice.detachedHead=false",
    "init.defaultBranch=main",
)
"""Settings under which a command of git runs no program but git, and changes nothing that was not asked for."""
_NO_SPLIT_INDEX = ("core.splitIndex=false", "splitIndex.sharedIndexExpire=never")
"""git would write the shared part of a split index into the user's git folder, and delete expired parts there."""
_NO_CONVERSION = ("core.autocrlf=false", "core.safecrlf=false")
_DISABLED = {
    "filter": {"clean": "", "smudge": "", "process": "", "required": "false"},
    "hook": {"enabled": "false"},
}
"""Sections of a configuration that name programs under names of their own, with the values that disable them."""


@dataclass(frozen=True, slots=True)
class Git:
    """git in ``folder``, on the repository that it finds there or on ``git_dir`` and ``work_tree``.

    ``settings`` are passed with ``-c``; ``variables`` are the whole environment.
    """

    folder: Path
    variables: Mapping[str, str]
    settings: Sequence[str] = ()
    git_dir: Path | None = None
    work_tree: Path | None = None

    def with_variables(self, **variables: str) -> Git:
        """Return the same git with more environment variables."""
        return replace(self, variables={**self.variables, **variables})

    def run(self, *arguments: str, data: bytes = b"", accept: Sequence[int] = (0,)) -> bytes:
        """Run one command with ``data`` as input; return its standard output.

        Raises ``WorkspaceError`` with git's own message when the exit code is not in ``accept``.
        """
        done = self._start(arguments, data)
        if done.returncode not in accept:
            raise _failure(done, arguments[0])
        return done.stdout

    def collect_errors(self, *arguments: str) -> str:
        """Run one command that continues after errors; return its error messages, "" for none.

        Raises ``WorkspaceError`` when git stopped at an error.
        """
        done = self._start(arguments, b"")
        if done.returncode not in (0, 1):
            raise _failure(done, arguments[0])
        return done.stderr.decode("utf-8", "replace").strip() if done.returncode else ""

    def text(self, *arguments: str) -> str:
        """Run one command; return its standard output as text, without the newline at its end."""
        return os.fsdecode(self.run(*arguments)).removesuffix("\n")

    def paths(self, *arguments: str) -> list[str]:
        """Run one command that was given ``-z``; return its standard output as a list of paths."""
        return [os.fsdecode(path) for path in self.run(*arguments).split(b"\0") if path]

    def succeeds(self, *arguments: str) -> bool:
        """Run one command; return whether it ended with exit code 0."""
        return self._start(arguments, b"").returncode == 0

    def _start(self, arguments: Sequence[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--literal-pathspecs", *(part for setting in self.settings for part in ("-c", setting))]
        if self.git_dir:
            command.append(f"--git-dir={self.git_dir}")
        if self.work_tree:
            command.append(f"--work-tree={self.work_tree}")
        try:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # So Ctrl-C in the terminal reaches autoroute alone: a git killed in the middle leaves its locks behind.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise WorkspaceError(f"cannot run git: {error.strerror}", hint=_INSTALL_HINT) from None
        except OSError as error:
            raise WorkspaceError(f"cannot run git: {error.strerror}") from None
        try:
            stdout, stderr = process.communicate(data, timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            _end(process)
            raise WorkspaceError(f"git {arguments[0]} timed out after {_TIMEOUT_SECONDS:g} seconds") from None
        except BaseException:
            _end(process, finish_seconds=_EXIT_SECONDS)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def join_paths(paths: Iterable[str]) -> bytes:
    """Return paths as the input of a command that was given ``-z --stdin``."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _end(process: subprocess.Popen[bytes], *, finish_seconds: float = 0.0) -> None:
    """Wait for git to finish, then terminate it, then kill it: a killed git leaves its lock files behind."""
    for seconds, stop in ((finish_seconds, process.terminate), (_EXIT_SECONDS, process.kill)):
        try:
            _finish(process, seconds)
        except subprocess.TimeoutExpired:
            stop()
        else:
            return
    _finish(process)


def _finish(process: subprocess.Popen[bytes], seconds: float | None = None) -> None:
    """Read the output of git until it ends. Raises ``TimeoutExpired``."""
    try:
        process.communicate(timeout=seconds)
    except (AttributeError, KeyError):
        # A signal struck while CPython's first communicate() set up its state. It marks itself as started all the same
        # and cannot be called again, so the pipes are drained here: a full one would keep git from ending.
        if process.stdin:
            with suppress(OSError):
                process.stdin.close()
        for pipe in filter(None, (process.stdout, process.stderr)):
            threading.Thread(target=_drain, args=(pipe,), name="autoroute-drain", daemon=True).start()
        process.wait(seconds)


def _drain(pipe: IO[bytes]) -> None:
    with pipe:
        pipe.read()


def _failure(done: subprocess.CompletedProcess[bytes], command: str) -> WorkspaceError:
    message = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
    disk_full = "no space left" in message.lower() or "out of diskspace" in message.lower()
    hint = "free some space there" if disk_full else ""
    return WorkspaceError(f"git {command}: {message[-_MAX_ERROR_CHARACTERS:]}", hint=hint)


def users_git(folder: Path, environ: Mapping[str, str]) -> Git:
    """Return git as the user runs it in their repository: with their configuration, hooks, identity and signature."""
    signing = {name: value for name, value in environ.items() if name in _SIGNING_VARIABLES}
    return Git(folder, {**_environment(environ), **signing})


def guarded_git(folder: Path, environ: Mapping[str, str], settings: Sequence[str] = ()) -> Git:
    """Return git for work in the user's repository: with their ``safe.directory``, without their programs.

    ``settings`` come from ``find_driver_overrides``.
    """
    return Git(folder, {**_environment(environ), **_LOCAL_ONLY}, (*HARDENING, *_NO_CONVERSION, *settings))


def staging_git(folder: Path, environ: Mapping[str, str], settings: Sequence[str]) -> Git:
    """Return git that stores the user's files as theirs would: with their line endings and filters, nothing else.

    A file that belongs behind a filter (Git LFS, git-crypt) must not be stored without it, as a whole or in the clear.
    """
    kept = [setting for setting in settings if not setting.startswith("filter.")]
    return Git(folder, {**_environment(environ), **_LOCAL_ONLY}, (*HARDENING, *_NO_SPLIT_INDEX, *kept))


def find_driver_overrides(git: Git) -> tuple[str, ...]:
    """Return settings that disable each filter and hook that the configuration of a repository names.

    Raises ``WorkspaceError`` for a name with ``=``: in ``-c name=value`` git would read a different setting.
    """
    found = os.fsdecode(git.run("config", "-z", "--name-only", "--get-regexp", r"^(filter|hook)\.", accept=(0, 1)))
    names = {(key.partition(".")[0], key.partition(".")[2].rpartition(".")[0]) for key in found.split("\0") if key}
    for kind, name in names:
        if "=" in name:
            raise WorkspaceError(
                f"refusing to work in {git.folder}: the {kind} {name!r} of its configuration cannot be disabled",
                hint=rf"rename it; to see where it is set: git config --show-origin --get-regexp '^{kind}\.'",
            )
    return tuple(
        f"{kind}.{name}.{key}={value}" for kind, name in sorted(names) if name for key, value in _DISABLED[kind].items()
    )


def own_git(git_dir: Path, work_tree: Path, environ: Mapping[str, str]) -> Git:
    """Return git for a repository that autoroute made; it reads no configuration but that of the repository."""
    no_configuration = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    variables = {**_base_environment(environ), **_LOCAL_ONLY, **no_configuration}
    return Git(git_dir.parent, variables, (*HARDENING, *_NO_CONVERSION), git_dir, work_tree)


def check_version(git: Git) -> None:
    """Raise ``WorkspaceError`` when git is too old."""
    version = git.text("version")
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < _MIN_VERSION:
        raise WorkspaceError(f"{version} is too old", hint=_INSTALL_HINT)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of git in the user's repository: with their configuration and identity."""
    own = {name: value for name, value in environ.items() if _CONFIGURATION_VARIABLES.fullmatch(name)}
    return {**_base_environment(environ), **own}


def _base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without keys, and without ``GIT_`` variables, which could name programs."""
    kept = {name: value for name, value in environ.items() if name in _KEPT_VARIABLES}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


DEFAULT_IDENTITY: Mapping[str, str] = MappingProxyType({"name": "autoroute", "email": "autoroute@localhost"})
"""The author of commits as far as git knows no name and e-mail of the user."""

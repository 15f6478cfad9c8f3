"""The one place that runs git."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from autoroute.errors import WorkspaceError

_TIMEOUT = 600.0
_PATIENCE = 10.0
"""Seconds that a git whose result nobody waits for any more may still take."""
_OLDEST = (2, 31)
_INSTALL = f"install git {_OLDEST[0]}.{_OLDEST[1]} or newer"
_CLOSED = MappingProxyType({"GIT_ALLOW_PROTOCOL": "file", "GIT_NO_LAZY_FETCH": "1"})
"""No configuration can open another way out of the machine, or fetch what a look at an object finds missing."""
_KEPT = frozenset({"PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR"})
_SIGNING = frozenset(
    {
        *("SSH_AUTH_SOCK", "GNUPGHOME", "GPG_TTY", "TERM", "PINENTRY_USER_DATA"),
        *("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"),
    }
)
"""What the programs that sign a commit of the user's, and ask for its passphrase, go by."""

HARDENING = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.pager=cat",
    "core.sshCommand=/bin/false",
    "core.alternateRefsCommand=true",
    "core.askPass=true",
    "credential.helper=",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "commit.gpgSign=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=true",
    *(f"fetch.fsck.{name}=error" for name in ("hasDotgit", "hasDot", "hasDotdot")),
    *(f"fetch.fsck.gitmodules{name}=error" for name in ("Name", "Path", "Url", "Update", "Symlink")),
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.writeCommitGraph=false",
    "fetch.bundleURI=/dev/null",
    "safe.bareRepository=explicit",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
)
"""Settings that leave nothing to run but git itself: each of them has been a way to run code in some tool."""
_WHOLE_INDEX = ("core.splitIndex=false", "splitIndex.sharedIndexExpire=never")
"""The other part of a split index would be written, and looked for what is old, in the folder of the user's."""
_AS_STORED = ("core.autocrlf=false", "core.safecrlf=false")
_OVERRIDDEN = {
    "filter": {"clean": "", "smudge": "", "process": "", "required": "false"},
    "hook": {"enabled": "false"},
}
"""Programs that a configuration names by itself and that a call of ours would run: what takes them out of use."""


@dataclass(frozen=True, slots=True)
class Git:
    """git in ``folder``, on the repository that it finds there or on the one that is named.

    ``settings`` are passed with ``-c``, ``variables`` are its whole environment.
    """

    folder: Path
    variables: Mapping[str, str]
    settings: Sequence[str] = ()
    git_dir: Path | None = None
    work_tree: Path | None = None

    def with_variables(self, **variables: str) -> Git:
        """The same with more variables."""
        return replace(self, variables={**self.variables, **variables})

    def run(self, *arguments: str, data: bytes = b"", accept: Sequence[int] = (0,)) -> bytes:
        """Standard output of one command; raises ``WorkspaceError`` with git's own words when it fails."""
        done = self._start(arguments, data)
        if done.returncode not in accept:
            raise _failure(done, arguments[0])
        return done.stdout

    def complaints(self, *arguments: str) -> str:
        """What one command that goes on after errors did not do, in its own words; raises when it did not go on."""
        done = self._start(arguments, b"")
        if done.returncode not in (0, 1):
            raise _failure(done, arguments[0])
        return done.stderr.decode("utf-8", "replace").strip() if done.returncode else ""

    def text(self, *arguments: str) -> str:
        """The same as text, without the newline at its end."""
        return os.fsdecode(self.run(*arguments)).removesuffix("\n")

    def paths(self, *arguments: str) -> list[str]:
        """The same as a list of paths, of a command that was told ``-z``."""
        return [os.fsdecode(path) for path in self.run(*arguments).split(b"\0") if path]

    def succeeds(self, *arguments: str) -> bool:
        """Whether a command ends with exit code 0."""
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
                # Ctrl-C in the terminal is for autoroute to handle, not for a git in the middle of its work.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise WorkspaceError(f"git cannot be run: {error.strerror}", hint=_INSTALL) from None
        except OSError as error:
            raise WorkspaceError(f"git cannot be run: {error.strerror}") from None
        try:
            stdout, stderr = process.communicate(data, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            _end(process)
            raise WorkspaceError(f"git {arguments[0]} did not end within {_TIMEOUT:g} s") from None
        except BaseException:
            _end(process, patience=_PATIENCE)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _end(process: subprocess.Popen[bytes], *, patience: float = 0.0) -> None:
    """Let git come to its end for so many seconds, then have it stop: killed at once, it would leave its locks."""
    for seconds, stop in ((patience, process.terminate), (_PATIENCE, process.kill)):
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            stop()
        else:
            return
    process.communicate()


def _failure(done: subprocess.CompletedProcess[bytes], command: str) -> WorkspaceError:
    words = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
    full = "no space left" in words.lower() or "out of diskspace" in words.lower()
    return WorkspaceError(f"git {command}: {words[-2_000:]}", hint="free some space there" if full else "")


def users_git(folder: Path, environ: Mapping[str, str]) -> Git:
    """git as the user runs it in their own repository, with their configuration, hooks, identity and signature."""
    signing = {name: value for name, value in environ.items() if name in _SIGNING}
    return Git(folder, {**_environment(environ), **signing})


def guarded_git(folder: Path, environ: Mapping[str, str], settings: Sequence[str] = ()) -> Git:
    """git for what autoroute does in the user's repository: with their ``safe.directory``, without their programs.

    ``settings`` are those of ``overrides``, for programs that only the repository's configuration names.
    """
    return Git(folder, {**_environment(environ), **_CLOSED}, (*HARDENING, *_AS_STORED, *settings))


def staging_git(folder: Path, environ: Mapping[str, str], settings: Sequence[str]) -> Git:
    """git to store the user's own files as they would: by their line endings and filters, and no other program.

    A file that belongs behind a filter (Git LFS, git-crypt) must not be stored without it.
    """
    kept = [setting for setting in settings if not setting.startswith("filter.")]
    return Git(folder, {**_environment(environ), **_CLOSED}, (*HARDENING, *_WHOLE_INDEX, *kept))


def overrides(git: Git) -> tuple[str, ...]:
    """Settings that take every filter and hook that a repository's configuration names out of use.

    Raises ``WorkspaceError`` for a name that cannot be overridden: git would read another setting in its place.
    """
    found = os.fsdecode(git.run("config", "-z", "--name-only", "--get-regexp", r"^(filter|hook)\.", accept=(0, 1)))
    names = {(key.partition(".")[0], key.partition(".")[2].rpartition(".")[0]) for key in found.split("\0") if key}
    for kind, name in names:
        if "=" in name:
            raise WorkspaceError(
                f"the configuration of {git.folder} names a {kind} {name!r}, which nobody can override"
            )
    return tuple(
        f"{kind}.{name}.{key}={value}"
        for kind, name in sorted(names)
        if name
        for key, value in _OVERRIDDEN[kind].items()
    )


def own_git(git_dir: Path, work_tree: Path, environ: Mapping[str, str]) -> Git:
    """git on a repository of autoroute's own, blind to every configuration but that repository's."""
    blind = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    variables = {**_environment(environ), **_CLOSED, **blind}
    return Git(git_dir.parent, variables, (*HARDENING, *_AS_STORED), git_dir, work_tree)


def check_version(git: Git) -> None:
    """Raise ``WorkspaceError`` when git is too old for what we ask of it."""
    words = git.text("version")
    found = re.search(r"(\d+)\.(\d+)", words)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        raise WorkspaceError(f"{words} is too old", hint=_INSTALL)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What git sees of the environment: no GIT_ variable of the caller's, and no key."""
    kept = {name: value for name, value in environ.items() if name in _KEPT}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


NO_IDENTITY: Mapping[str, str] = MappingProxyType({"name": "autoroute", "email": "autoroute@localhost"})
"""Who commits when the user has told git no name."""

"""The ``claude`` command: its path, its version, and what it reports about a login. No login file is read."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoroute.claude.process_environment import base_environment, login_environment
from autoroute.errors import ConfigError, WorkspaceError
from autoroute.providers.claude_profiles import CONFIG_DIR_VARIABLE, ClaudeProfile, default_config_dir, user_home
from autoroute.routing import Billing

_TIMEOUT_SECONDS = 30.0
_INSTALL_COMMANDS = "npm install -g @anthropic-ai/claude-code, or pip install 'autoroute[claude-agent-sdk]'"
_REINSTALL_HINT = f"install it again: {_INSTALL_COMMANDS}"
_INSTALL_FOLDERS = (".local/bin", ".claude/local")
"""Where the installers of Claude Code put it, below the home folder."""
_NO_SETTINGS = ("--setting-sources", "")
"""Settings files may set environment variables, which could select another provider."""
_PLAN_METHODS = ("claude.ai", "oauth_token")
"""Login methods of a subscription."""


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """The state of a login as Claude Code reports it, offline. ``problem`` is "" unless it could not report one."""

    logged_in: bool
    method: str = ""
    plan: str = ""
    email: str = ""
    problem: str = ""

    @property
    def billing(self) -> Billing:
        """How the login is billed: a subscription by flat fee, an API key or a Console login for each token.

        A login that has ended counts as a subscription, so that nothing paid replaces it without a question.
        """
        return "usage" if self.logged_in and self.method not in _PLAN_METHODS else "plan"


class Executable:
    """The ``claude`` command of this machine. ``own_folder`` is a folder of autoroute's state."""

    def __init__(self, path: Path, environ: Mapping[str, str], own_folder: Path) -> None:
        self.path = path
        self._environ = environ
        self._own_folder = own_folder

    def version(self) -> str:
        """Return the version, such as ``2.1.330``. Raises ``ConfigError`` if the command does not report one."""
        try:
            done = self._run(["--version"], base_environment(self._environ))
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = getattr(error, "strerror", None) or f"no answer within {_TIMEOUT_SECONDS:g} s"
            raise ConfigError(
                f"cannot run {self.path}: {reason}", hint=f"install it again: {_INSTALL_COMMANDS}"
            ) from None
        words = done.stdout.decode("utf-8", "replace").split()
        if done.returncode != 0 or not words or not words[0][:1].isdigit():
            raise ConfigError(
                f"{self.path} --version ended with exit code {done.returncode} and printed no version",
                hint=_REINSTALL_HINT,
            )
        return words[0]

    def environment(self, login: ClaudeProfile) -> dict[str, str]:
        """Return the environment of a process that uses this login."""
        return login_environment(self._environ, login, self.folder(login.label))

    def folder(self, name: str) -> Path:
        """Return a folder of autoroute's own, without a stored login; make it if needed. Raises ``WorkspaceError``."""
        path = self._own_folder / name
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise WorkspaceError(f"cannot create folder {path}: {error.strerror}") from None
        return path

    def login_status(self, login: ClaudeProfile) -> LoginStatus:
        """Return the state of a login as Claude Code reports it, offline.

        If the login's folder does not exist, Claude Code is not started, because it would create that folder.
        """
        if not login.token_env and not (login.config_dir or default_config_dir(self._environ)).is_dir():
            return LoginStatus(logged_in=False)
        unknown = LoginStatus(logged_in=False, problem=f"{self.path} auth status did not report the state of the login")
        try:
            done = self._run([*_NO_SETTINGS, "auth", "status", "--json"], self.environment(login))
            status: Any = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return unknown
        if not isinstance(status, dict):
            return unknown
        return LoginStatus(
            logged_in=status.get("loggedIn") is True,
            method=_printable(status.get("authMethod")),
            plan=_printable(status.get("planTier") or status.get("subscriptionType")),
            email=_printable(status.get("email")),
        )

    def run_in_terminal(self, login: ClaudeProfile, *arguments: str) -> int:
        """Run a command of Claude Code on the user's terminal; return its exit code. Raises ``ConfigError``."""
        try:
            return subprocess.run([self.path, *arguments], env=self.environment(login), check=False).returncode
        except OSError as error:
            raise ConfigError(f"cannot run {self.path}: {error.strerror}", hint=_REINSTALL_HINT) from None

    def _run(self, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.path, *arguments],
            env=environment,
            cwd=self.folder("."),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )


def find_executable(configured: str, environ: Mapping[str, str], own_folder: Path) -> Executable:
    """Return the command that the settings name, or that is on the path, or that the Agent SDK's package contains.

    Raises ``ConfigError`` if there is none.
    """
    if configured:
        path = Path(configured).expanduser()
        if not _is_executable(path):
            raise ConfigError(
                f"claude.binary: {configured} is not an executable file",
                hint="set it to the path of the claude command",
            )
        return Executable(path.absolute(), environ, own_folder)
    found = next(filter(_is_executable, _candidates(environ)), None)
    if found is None:
        raise ConfigError("claude command not found", hint=f"install it: {_INSTALL_COMMANDS}")
    return Executable(found, environ, own_folder)


def is_onboarded(login: ClaudeProfile, environ: Mapping[str, str]) -> bool:
    """Return whether Claude Code's first start is complete: one flag of its settings file, and nothing else of it."""
    if login.token_env:
        return True
    # The default login keeps this file beside its folder, not inside.
    path = (login.config_dir or user_home(environ)) / ".claude.json"
    try:
        return bool(json.loads(path.read_bytes()).get("hasCompletedOnboarding"))
    except (OSError, ValueError, AttributeError):
        return False


def login_command(login: ClaudeProfile, environ: Mapping[str, str]) -> str:
    """Return the official command that logs in again."""
    if login.token_env:
        return f"claude setup-token, then set {login.token_env} to the token that it prints"
    if login.config_dir is None or login.config_dir == default_config_dir(environ):
        return "claude auth login"
    return f"{CONFIG_DIR_VARIABLE}={login.config_dir} claude auth login"


def _candidates(environ: Mapping[str, str]) -> list[Path]:
    """Return the paths where the command may be. Relative entries of PATH are skipped: a repository could own them."""
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()]
    on_path = shutil.which("claude", path=os.pathsep.join(folders))
    home = user_home(environ)
    return [
        *([Path(on_path)] if on_path else []),
        *(home / folder / "claude" for folder in _INSTALL_FOLDERS),
        *_bundled(),
    ]


def _bundled() -> list[Path]:
    """Return the paths of the copy in the Agent SDK's package, which is not imported: that takes about a second."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    folders = (spec.submodule_search_locations if spec else None) or []
    return [Path(folder) / "_bundled" / name for folder in folders for name in ("claude", "claude.exe")]


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _printable(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""

"""The program itself: where it is, which version, and what it says of a login. Nothing of a login is read but that."""

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

from autoroute.claude.process_environment import login_environment, plain_environment
from autoroute.errors import ConfigError, WorkspaceError
from autoroute.providers.claude_profiles import CONFIG_DIR_VARIABLE, ClaudeProfile, default_config_dir, user_home
from autoroute.routing import Billing

_TIMEOUT = 30.0
_INSTALL = "npm install -g @anthropic-ai/claude-code, or pip install 'autoroute[claude-agent-sdk]'"
_PLACES = (".local/bin", ".claude/local")
"""Below the home: where its own installers put it."""
_NO_SETTINGS = ("--setting-sources", "")
"""Settings files may hold an environment, which could name another provider."""


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """What the program says of a login; it does not ask the vendor. ``complaint`` is "" when it could say."""

    logged_in: bool
    method: str = ""
    plan: str = ""
    email: str = ""
    complaint: str = ""

    @property
    def billing(self) -> Billing:
        """A subscription is a flat fee; what an API key or a Console login does is paid for each token.

        A login that has ended was a plan's for all that is known: nothing that is paid takes over from it unasked.
        """
        return "usage" if self.logged_in and self.method not in ("claude.ai", "oauth_token") else "plan"


class Executable:
    """The ``claude`` command of this machine."""

    def __init__(self, path: Path, environ: Mapping[str, str], own_folder: Path) -> None:
        self.path = path
        self._environ = environ
        self._own_folder = own_folder

    def version(self) -> str:
        """``2.1.330``. Raises ``ConfigError`` when it cannot be run."""
        try:
            done = self._run(["--version"], plain_environment(self._environ))
        except (OSError, subprocess.TimeoutExpired) as error:
            words = getattr(error, "strerror", None) or f"no answer within {_TIMEOUT:g} s"
            raise ConfigError(f"{self.path} cannot be run: {words}", hint=_INSTALL) from None
        words = done.stdout.decode("utf-8", "replace").split()
        if done.returncode != 0 or not words or not words[0][:1].isdigit():
            raise ConfigError(f"{self.path} --version ends with {done.returncode} and names no version", hint=_INSTALL)
        return words[0]

    def environment(self, login: ClaudeProfile) -> dict[str, str]:
        """That of a process on this login."""
        return login_environment(self._environ, login, self.folder(login.label))

    def folder(self, name: str) -> Path:
        """A folder of our own for what has no login stored; made when first asked for. Raises ``WorkspaceError``."""
        path = self._own_folder / name
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be made: {error.strerror}") from None
        return path

    def status(self, login: ClaudeProfile) -> LoginStatus:
        """Whether a login is there, as the program itself sees it, offline.

        Where there is no folder nobody ever logged in, and to be asked would only make the program write one.
        """
        if not login.token_env and not (login.config_dir or default_config_dir(self._environ)).is_dir():
            return LoginStatus(logged_in=False)
        try:
            done = self._run([*_NO_SETTINGS, "auth", "status", "--json"], self.environment(login))
            said: Any = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return LoginStatus(logged_in=False, complaint=f"{self.path} auth status gives no answer")
        if not isinstance(said, dict):
            return LoginStatus(logged_in=False, complaint=f"{self.path} auth status gives no answer")
        plan = said.get("planTier") or said.get("subscriptionType")
        return LoginStatus(
            said.get("loggedIn") is True, _text(said.get("authMethod")), _text(plan), _text(said.get("email"))
        )

    def hand_over(self, login: ClaudeProfile, *arguments: str) -> int:
        """Run a command of the program's with the terminal its own; the exit code. Raises ``ConfigError``."""
        try:
            return subprocess.run([self.path, *arguments], env=self.environment(login), check=False).returncode
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be run: {error.strerror}", hint=_INSTALL) from None

    def _run(self, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.path, *arguments],
            env=environment,
            cwd=self.folder("."),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        )


def find_executable(configured: str, environ: Mapping[str, str], own_folder: Path) -> Executable:
    """The program that the settings name, that is on the path, or that the SDK's package brings.

    Raises ``ConfigError`` when there is none.
    """
    if configured:
        named = Path(configured).expanduser()
        if not _is_program(named):
            raise ConfigError(f"claude.binary: {configured} is no program", hint="name the claude command by its path")
        return Executable(named.absolute(), environ, own_folder)
    found = next(filter(_is_program, _candidates(environ)), None)
    if found is None:
        raise ConfigError("there is no claude command on this machine", hint=f"install it: {_INSTALL}")
    return Executable(found, environ, own_folder)


def is_onboarded(login: ClaudeProfile, environ: Mapping[str, str]) -> bool:
    """Whether the first start was gone through: one mark in a settings file, the rest of which is not looked at."""
    if login.token_env:
        return True
    # The default login keeps this file beside its folder.
    path = (login.config_dir or user_home(environ)) / ".claude.json"
    try:
        return bool(json.loads(path.read_bytes()).get("hasCompletedOnboarding"))
    except (OSError, ValueError, AttributeError):
        return False


def login_command(login: ClaudeProfile, environ: Mapping[str, str]) -> str:
    """What a person types to log in again, in the official way."""
    if login.token_env:
        return f"claude setup-token, and put what it prints into {login.token_env}"
    if login.config_dir is None or login.config_dir == default_config_dir(environ):
        return "claude auth login"
    return f"{CONFIG_DIR_VARIABLE}={login.config_dir} claude auth login"


def _candidates(environ: Mapping[str, str]) -> list[Path]:
    """An entry of the path that is relative could be a repository's."""
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()]
    on_path = shutil.which("claude", path=os.pathsep.join(folders))
    home = user_home(environ)
    return [
        *([Path(on_path)] if on_path else []),
        *(home / place / "claude" for place in _PLACES),
        *_bundled(),
    ]


def _bundled() -> list[Path]:
    spec = importlib.util.find_spec("claude_agent_sdk")
    folders = (spec.submodule_search_locations if spec else None) or []
    return [Path(folder) / "_bundled" / name for folder in folders for name in ("claude", "claude.exe")]


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _text(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""

"""The ``[claude]`` settings, and the Claude profiles that exist: accounts whose logins Claude Code keeps.

A profile is a configuration folder of Claude Code, or a variable with a long-lived token. This module finds where a
login is, never the login itself. Anthropic allows OAuth logins in its own applications only
(code.claude.com/docs/en/legal-and-compliance), so autoroute reads, refreshes and stores none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from autoroute.atomic import write_private
from autoroute.errors import ConfigError
from autoroute.text import did_you_mean

OAUTH_TOKEN_VARIABLE = "CLAUDE_CODE_OAUTH_TOKEN"
"""Holds the long-lived token that ``claude setup-token`` prints."""
AUTH_TOKEN_VARIABLE = "ANTHROPIC_AUTH_TOKEN"
CONFIG_DIR_VARIABLE = "CLAUDE_CONFIG_DIR"
"""Each folder that it names is a login of its own."""
PROFILES_FOLDER_NAME = ".claude-profiles"
_BASE_URL_VARIABLE = "ANTHROPIC_BASE_URL"
_API_HOST = "api.anthropic.com"
_SUBSCRIPTION_TOKEN_PREFIX = "sk-ant-oat"
"""Any other token in ``ANTHROPIC_AUTH_TOKEN`` belongs to a gateway, or is an API key."""


def is_valid_label(text: str) -> bool:
    """Return whether a profile may have this name."""
    return bool(text) and text.isprintable() and not text.startswith(".") and not set(text) & set(":/\\, ")


def _label(text: str) -> str:
    if not is_valid_label(text):
        raise ValueError(f"invalid profile name {text!r}")
    return text


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProfileSettings(_Table):
    """``[claude.profiles.NAME]``: exactly one of the two keys."""

    config_dir: str = ""
    """The folder that Claude Code gets as ``CLAUDE_CONFIG_DIR``, an absolute path."""
    token_env: str = ""
    """The variable that holds its token, as ``claude setup-token`` prints it."""

    @model_validator(mode="after")
    def _check(self) -> ProfileSettings:
        if bool(self.config_dir) == bool(self.token_env):
            raise ValueError("set either config_dir or token_env")
        if self.config_dir and not Path(self.config_dir).expanduser().is_absolute():
            raise ValueError(f"{self.config_dir} is not an absolute path")
        return self


class ClaudeSettings(_Table):
    """``[claude]``."""

    auto_switch: bool = False
    """Whether the next profile takes over without a question when one reaches a limit."""
    session_threshold: float = Field(default=95.0, gt=0, le=100)
    """Percent of the five-hour window from which the next profile takes over, if ``auto_switch`` allows it."""
    weekly_threshold: float = Field(default=99.0, gt=0, le=100)
    """Percent of the weekly window, likewise."""
    binary: str = ""
    """The ``claude`` command; "" searches for it."""
    order: list[str] = Field(default_factory=list)
    """Profiles that come first; the others follow in the order in which they are found."""
    profiles: dict[Annotated[str, AfterValidator(_label)], ProfileSettings] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaudeProfile:
    """A login: in a configuration folder (None is the default one), or as a token in a variable."""

    label: str
    config_dir: Path | None = None
    token_env: str = ""
    """The user's variable that holds the token."""
    token_as: str = OAUTH_TOKEN_VARIABLE
    """The variable from which Claude Code reads the token."""
    source: str = ""
    """Where it was found, for people."""


def discover_profiles(
    settings: ClaudeSettings, environ: Mapping[str, str], order_file: Path
) -> tuple[ClaudeProfile, ...]:
    """Return every profile, in the order of use.

    A token in the environment is first, then a folder in the environment, then the default login. The profiles of
    ``~/.claude-profiles`` and of the settings follow. The ``order`` setting overrides this order, and so does
    ``autoroute profiles order`` if that setting is empty.
    """
    found: dict[str, ClaudeProfile] = {}
    seen: set[Path | str] = set()
    configured = {_identity(profile, environ): profile.label for profile in _from_settings(settings)}
    for profile in (*_from_environment(environ), *_from_home(environ), *_from_settings(settings)):
        identity = _identity(profile, environ)
        if identity not in seen:
            seen.add(identity)
            label = configured.get(identity) or _free_label(profile.label, {*found, *settings.profiles})
            found[label] = replace(profile, label=label)
    first = [label for label in profile_order(settings, order_file) if label in found]
    return tuple(found[label] for label in dict.fromkeys((*first, *found)))


def profile_order(settings: ClaudeSettings, order_file: Path) -> list[str]:
    """Return the labels that the user put first."""
    return settings.order or read_order(order_file)


def find_profile(label: str, profiles: Sequence[ClaudeProfile]) -> ClaudeProfile:
    """Return the profile of that name. Raises ``ConfigError``."""
    for profile in profiles:
        if profile.label == label:
            return profile
    known = [profile.label for profile in profiles]
    raise ConfigError(
        f"unknown Claude profile {label!r}", hint=did_you_mean(label, known, otherwise=f"profiles: {', '.join(known)}")
    )


def unknown_order_warnings(settings: ClaudeSettings, found: Sequence[ClaudeProfile]) -> list[str]:
    """Return a warning for each name in ``order`` without a profile.

    It is not an error: the profile may exist on another machine, or in another shell.
    """
    labels = [profile.label for profile in found]
    return [
        f"claude.order: unknown Claude profile {label!r}; profiles: {', '.join(labels)}"
        for label in settings.order
        if label not in labels
    ]


def default_config_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of the default login."""
    return user_home(environ) / ".claude"


def profiles_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that holds the user's other profiles, a folder each."""
    return user_home(environ) / PROFILES_FOLDER_NAME


def user_home(environ: Mapping[str, str]) -> Path:
    """Return the user's home folder."""
    return Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())


def read_order(path: Path) -> list[str]:
    """Return what ``autoroute profiles order`` wrote; an empty list if the file is missing or unreadable."""
    with suppress(OSError, ValueError):
        order = json.loads(path.read_bytes())
        if isinstance(order, list):
            return [label for label in order if isinstance(label, str)]
    return []


def write_order(path: Path, order: Sequence[str]) -> None:
    """Write which profiles come first. Raises ``OSError``."""
    write_private(path, json.dumps(list(order)) + "\n")


def _identity(profile: ClaudeProfile, environ: Mapping[str, str]) -> Path | str:
    """Return what makes two profiles the same: their folder, or their variable."""
    return profile.token_env or (profile.config_dir or default_config_dir(environ)).resolve()


def _from_environment(environ: Mapping[str, str]) -> Iterator[ClaudeProfile]:
    if environ.get(OAUTH_TOKEN_VARIABLE):
        yield ClaudeProfile("token", token_env=OAUTH_TOKEN_VARIABLE, source=f"variable {OAUTH_TOKEN_VARIABLE}")
    if environ.get(AUTH_TOKEN_VARIABLE, "").startswith(_SUBSCRIPTION_TOKEN_PREFIX) and _is_anthropic(
        environ.get(_BASE_URL_VARIABLE, "")
    ):
        yield ClaudeProfile(
            "auth-token",
            token_env=AUTH_TOKEN_VARIABLE,
            token_as=AUTH_TOKEN_VARIABLE,
            source=f"variable {AUTH_TOKEN_VARIABLE}",
        )
    if environ.get(CONFIG_DIR_VARIABLE):
        folder = Path(environ[CONFIG_DIR_VARIABLE]).expanduser()
        yield ClaudeProfile(folder.name.lstrip(".") or "folder", folder, source=f"variable {CONFIG_DIR_VARIABLE}")


def _is_anthropic(base_url: str) -> bool:
    """Return whether the base URL is unset or Anthropic's own. With another one, the token belongs to a gateway."""
    with suppress(ValueError):
        return not base_url or urlsplit(base_url).hostname == _API_HOST
    return False


def _from_home(environ: Mapping[str, str]) -> Iterator[ClaudeProfile]:
    yield ClaudeProfile("default", source=str(default_config_dir(environ)))
    with suppress(OSError):
        for folder in sorted(profiles_folder(environ).iterdir()):
            if folder.is_dir() and is_valid_label(folder.name):
                yield ClaudeProfile(folder.name, folder, source=str(folder))


def _from_settings(settings: ClaudeSettings) -> Iterator[ClaudeProfile]:
    for label, table in settings.profiles.items():
        folder = Path(table.config_dir).expanduser() if table.config_dir else None
        yield ClaudeProfile(label, folder, table.token_env, source=f"[claude.profiles.{label}]")


def _free_label(label: str, taken: Collection[str]) -> str:
    number, free = 1, label
    while free in taken:
        number += 1
        free = f"{label}-{number}"
    return free

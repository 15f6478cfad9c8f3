"""The ``[claude]`` settings, and the Claude profiles that exist: each is an account of a provider whose logins the
official command line keeps. What is found here is where a login is, never the login itself.
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

OAUTH_TOKEN_VARIABLE = "CLAUDE_CODE_OAUTH_TOKEN"
AUTH_TOKEN_VARIABLE = "ANTHROPIC_AUTH_TOKEN"
CONFIG_DIR_VARIABLE = "CLAUDE_CONFIG_DIR"
_BASE_URL = "ANTHROPIC_BASE_URL"
_HOST = "api.anthropic.com"
_BEGINNING = "sk-ant-oat"
"""How the tokens of subscriptions begin. Another one in ``ANTHROPIC_AUTH_TOKEN`` is a gateway's, or a key."""
PROFILES_FOLDER_NAME = ".claude-profiles"


def is_valid_label(text: str) -> bool:
    """Whether a profile may be called so."""
    return bool(text) and text.isprintable() and not text.startswith(".") and not set(text) & set(":/\\, ")


def _label(text: str) -> str:
    if not is_valid_label(text):
        raise ValueError(f"{text!r} is no name for a profile")
    return text


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProfileSettings(_Table):
    """``[claude.profiles.NAME]``: one of the two, ``config_dir`` absolute."""

    config_dir: str = ""
    """The folder that is its ``CLAUDE_CONFIG_DIR``."""
    token_env: str = ""
    """The variable that holds its token, as ``claude setup-token`` prints it."""

    @model_validator(mode="after")
    def _check(self) -> ProfileSettings:
        if bool(self.config_dir) == bool(self.token_env):
            raise ValueError("name one of config_dir and token_env")
        if self.config_dir and not Path(self.config_dir).expanduser().is_absolute():
            raise ValueError(f"{self.config_dir} is no absolute path")
        return self


class ClaudeSettings(_Table):
    """``[claude]``."""

    auto_switch: bool = False
    """Whether the next profile goes on when one has met a limit, with nobody asked."""
    session_threshold: float = Field(default=95.0, gt=0, le=100)
    """Percent of the five-hour window from which on another profile goes on, if auto_switch lets it."""
    weekly_threshold: float = Field(default=99.0, gt=0, le=100)
    """Of the week, likewise."""
    binary: str = ""
    """The ``claude`` command; "" looks for it."""
    order: list[str] = Field(default_factory=list)
    """Profiles that come first; the others follow as they are found."""
    profiles: dict[Annotated[str, AfterValidator(_label)], ProfileSettings] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaudeProfile:
    """A login: in a folder (None: the default one), or in a variable that holds a token."""

    label: str
    config_dir: Path | None = None
    token_env: str = ""
    """The user's variable."""
    token_as: str = OAUTH_TOKEN_VARIABLE
    """The variable that the command line reads it from."""
    source: str = ""
    """Where it was found, for people."""


def discover_profiles(
    settings: ClaudeSettings, environ: Mapping[str, str], order_file: Path
) -> tuple[ClaudeProfile, ...]:
    """Every profile, the one that is used first at the front.

    As Claude users know it a token in the environment comes before a folder in the environment, and that before the
    default login; then those of ``~/.claude-profiles`` and of the settings. ``order`` and ``autoroute profiles order``
    come before all that.
    """
    found: dict[str, ClaudeProfile] = {}
    places: set[Path | str] = set()
    named = {_place(profile, environ): profile.label for profile in _of_settings(settings)}
    for profile in (*_of_environment(environ), *_of_home(environ), *_of_settings(settings)):
        place = _place(profile, environ)
        if place not in places:
            places.add(place)
            label = named.get(place) or _free_label(profile.label, {*found, *settings.profiles})
            found[label] = replace(profile, label=label)
    first = [label for label in profile_order(settings, order_file) if label in found]
    return tuple(found[label] for label in dict.fromkeys((*first, *found)))


def profile_order(settings: ClaudeSettings, order_file: Path) -> list[str]:
    """The labels that the user has put first."""
    return settings.order or read_order(order_file)


def find_profile(label: str, profiles: Sequence[ClaudeProfile]) -> ClaudeProfile:
    """The profile of that name. Raises ``ConfigError``."""
    for profile in profiles:
        if profile.label == label:
            return profile
    known = ", ".join(profile.label for profile in profiles)
    raise ConfigError(f"there is no Claude profile {label!r}", hint=f"there are {known}")


def unknown_order_warnings(settings: ClaudeSettings, found: Sequence[ClaudeProfile]) -> list[str]:
    """What is to be said of names in ``order`` that no profile has: they may be another machine's, or shell's."""
    labels = [profile.label for profile in found]
    return [
        f"claude.order: there is no Claude profile {label!r}; there are {', '.join(labels)}"
        for label in settings.order
        if label not in labels
    ]


def default_config_dir(environ: Mapping[str, str]) -> Path:
    """The folder of the default login."""
    return user_home(environ) / ".claude"


def profiles_folder(environ: Mapping[str, str]) -> Path:
    """Where Claude users keep further profiles, a folder each."""
    return user_home(environ) / PROFILES_FOLDER_NAME


def user_home(environ: Mapping[str, str]) -> Path:
    """The user's home."""
    return Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())


def read_order(path: Path) -> list[str]:
    """What ``autoroute profiles order`` wrote down; nothing where that cannot be read."""
    with suppress(OSError, ValueError):
        order = json.loads(path.read_bytes())
        if isinstance(order, list):
            return [label for label in order if isinstance(label, str)]
    return []


def write_order(path: Path, order: Sequence[str]) -> None:
    """Write down which profiles come first. Raises ``OSError``."""
    write_private(path, json.dumps(list(order)) + "\n")


def _place(profile: ClaudeProfile, environ: Mapping[str, str]) -> Path | str:
    """What makes two profiles the same: their folder, or their variable."""
    return profile.token_env or (profile.config_dir or default_config_dir(environ)).resolve()


def _of_environment(environ: Mapping[str, str]) -> Iterator[ClaudeProfile]:
    if environ.get(OAUTH_TOKEN_VARIABLE):
        yield ClaudeProfile("token", token_env=OAUTH_TOKEN_VARIABLE, source=f"the variable {OAUTH_TOKEN_VARIABLE}")
    if environ.get(AUTH_TOKEN_VARIABLE, "").startswith(_BEGINNING) and _leads_home(environ.get(_BASE_URL, "")):
        yield ClaudeProfile(
            "auth-token",
            token_env=AUTH_TOKEN_VARIABLE,
            token_as=AUTH_TOKEN_VARIABLE,
            source=f"the variable {AUTH_TOKEN_VARIABLE}",
        )
    if environ.get(CONFIG_DIR_VARIABLE):
        folder = Path(environ[CONFIG_DIR_VARIABLE]).expanduser()
        yield ClaudeProfile(folder.name.lstrip(".") or "folder", folder, source=f"the variable {CONFIG_DIR_VARIABLE}")


def _leads_home(base_url: str) -> bool:
    with suppress(ValueError):
        return not base_url or urlsplit(base_url).hostname == _HOST
    return False


def _of_home(environ: Mapping[str, str]) -> Iterator[ClaudeProfile]:
    yield ClaudeProfile("default", source=str(default_config_dir(environ)))
    with suppress(OSError):
        for folder in sorted(profiles_folder(environ).iterdir()):
            if folder.is_dir() and is_valid_label(folder.name):
                yield ClaudeProfile(folder.name, folder, source=str(folder))


def _of_settings(settings: ClaudeSettings) -> Iterator[ClaudeProfile]:
    for label, table in settings.profiles.items():
        folder = Path(table.config_dir).expanduser() if table.config_dir else None
        yield ClaudeProfile(label, folder, table.token_env, source=f"[claude.profiles.{label}]")


def _free_label(label: str, taken: Collection[str]) -> str:
    number, free = 1, label
    while free in taken:
        number += 1
        free = f"{label}-{number}"
    return free

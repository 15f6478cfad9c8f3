"""The environment, and where this platform keeps settings and state."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from autoroute.config.process import close_to_others

_APP = "autoroute"


def environment() -> dict[str, str]:
    """The process's environment: read here, once, and passed on as a value. It holds keys: others may not look."""
    close_to_others()
    return read_environment()


def read_environment() -> dict[str, str]:
    """Return the process's environment and leave the process as it is: for a program that autoroute is a part of."""
    return dict(os.environ)


def user_config_file(environ: Mapping[str, str]) -> Path:
    """The user's own settings: ``AUTOROUTE_CONFIG``, else ``config.toml`` in the platform's configuration folder."""
    named = environ.get("AUTOROUTE_CONFIG")
    if named:
        return Path(named)
    import platformdirs

    return _folder(environ, "XDG_CONFIG_HOME", platformdirs.user_config_path(_APP)) / "config.toml"


def user_state_folder(environ: Mapping[str, str]) -> Path:
    """Where workspaces and whatever else outlives a run are kept."""
    import platformdirs

    return _folder(environ, "XDG_STATE_HOME", platformdirs.user_state_path(_APP))


def workspace_folder(environ: Mapping[str, str], repository: Path, run: str) -> Path:
    """Where a run works. Two repositories may have runs of the same id."""
    digest = hashlib.sha256(os.fsencode(repository)).hexdigest()
    return user_state_folder(environ) / "workspaces" / f"{run}-{digest[:8]}"


def registry_folder(environ: Mapping[str, str]) -> Path:
    """Where it is kept which runs were made here."""
    return user_state_folder(environ) / "runs"


def user_cache_folder(environ: Mapping[str, str]) -> Path:
    """Where what can be asked again is kept."""
    import platformdirs

    return _folder(environ, "XDG_CACHE_HOME", platformdirs.user_cache_path(_APP))


def claude_folder(environ: Mapping[str, str]) -> Path:
    """Where Claude Code keeps what it writes for accounts that are none of its logins."""
    return user_state_folder(environ) / "claude"


def profile_order_file(environ: Mapping[str, str]) -> Path:
    """What ``autoroute profiles order`` writes."""
    return user_state_folder(environ) / "profiles.json"


def refreshed_models_file(environ: Mapping[str, str]) -> Path:
    """What ``autoroute models --refresh`` writes."""
    return user_cache_folder(environ) / "models.json"


def _folder(environ: Mapping[str, str], variable: str, default: Path) -> Path:
    """The XDG folder that ``environ`` names, which need not be the process's own environment."""
    named = environ.get(variable, "")
    return Path(named) / _APP if Path(named).is_absolute() else default

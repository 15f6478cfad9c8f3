"""The environment, and the platform's folders for settings, state and cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

_APP = "autoroute"
_SHORT_FOLDER = "autoroute-work"
"""The folder in the home folder for workspaces that commands see at their own path."""


def read_environment() -> dict[str, str]:
    """Return the process's environment. It is read only here, and passed on as a value."""
    return dict(os.environ)


def user_config_file(environ: Mapping[str, str]) -> Path:
    """Return the user's settings file: ``AUTOROUTE_CONFIG``, else ``config.toml`` in the platform's config folder."""
    named = environ.get("AUTOROUTE_CONFIG")
    if named:
        return Path(named)
    import platformdirs

    return _folder(environ, "XDG_CONFIG_HOME", platformdirs.user_config_path(_APP)) / "config.toml"


def user_state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of workspaces and other state that outlives a run."""
    import platformdirs

    return _folder(environ, "XDG_STATE_HOME", platformdirs.user_state_path(_APP))


def workspace_name(repository: Path, run: str) -> str:
    """Return the name of a run on this machine. The digest of its repository keeps equal run ids apart."""
    return f"{run}-{_digest(os.fsencode(repository))[:8]}"


def workspace_folder(environ: Mapping[str, str], repository: Path, run: str, *, mounts: bool = True) -> Path:
    """Return the folder where a run works: the one it has, else the one to create.

    ``mounts`` says that commands see the tree at the repository's own path. Otherwise they see the folder's own, and
    it must suit them: test runners and bundlers leave out what is in a folder whose name begins with a dot, as the
    platform's state folder is, and the path of a Unix socket has at most 107 characters.
    """
    name = workspace_name(repository, run)
    usual = user_state_folder(environ) / "workspaces" / name
    short = Path(environ.get("HOME") or "/", _SHORT_FOLDER, _digest(os.fsencode(name))[:10])
    if short.is_dir() and not usual.is_dir():
        return short
    suits = mounts or usual.is_dir() or not _has_dot_folder(usual) or _has_dot_folder(short)
    return usual if suits or not os.access(short.parent.parent, os.W_OK) else short


def workspace_folders(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the folders that contain the workspaces of all runs, see ``workspace_folder``."""
    return user_state_folder(environ) / "workspaces", Path(environ.get("HOME") or "/", _SHORT_FOLDER)


def lasting_home(environ: Mapping[str, str], repository: Path) -> Path:
    """Return the home folder of the commands of all runs of a repository."""
    return user_state_folder(environ) / "homes" / _digest(os.fsencode(repository))[:16]


def _has_dot_folder(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def registry_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that records which runs were created on this machine."""
    return user_state_folder(environ) / "runs"


def user_cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of data that can be fetched again."""
    import platformdirs

    return _folder(environ, "XDG_CACHE_HOME", platformdirs.user_cache_path(_APP))


def claude_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for files that Claude Code writes for accounts without a login of its own."""
    return user_state_folder(environ) / "claude"


def setup_answers_file(environ: Mapping[str, str]) -> Path:
    """Return the file that keeps whether a repository is set up by its lock files, as a person answered."""
    return user_state_folder(environ) / "setup.json"


def setup_results_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder with what set-ups made, which later runs use again."""
    return user_cache_folder(environ) / "setups"


def profile_order_file(environ: Mapping[str, str]) -> Path:
    """Return the file that ``autoroute profiles order`` writes."""
    return user_state_folder(environ) / "profiles.json"


def refreshed_models_file(environ: Mapping[str, str]) -> Path:
    """Return the file that ``autoroute models --refresh`` writes."""
    return user_cache_folder(environ) / "models.json"


def _folder(environ: Mapping[str, str], variable: str, default: Path) -> Path:
    """Return the XDG folder that ``environ`` names, or ``default``. platformdirs reads the process's only."""
    named = environ.get(variable, "")
    return Path(named) / _APP if Path(named).is_absolute() else default

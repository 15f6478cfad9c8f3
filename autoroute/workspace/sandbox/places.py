"""The paths at which commands see the workspace and their home folder, where the backend can mount.

Much of what an environment holds names absolute paths: editable installs, the scripts of a virtual environment, the
caches of CMake and Go, the names of poetry's environments. They fit if commands see the workspace where the user has
the checkout, and a home folder where the user has theirs. The real ones are hidden in any case.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

_RESERVED = tuple(map(Path, ("/proc", "/sys", "/dev", "/run/autoroute")))
"""What every sandbox has of its own."""
_SYSTEM = tuple(map(Path, ("/", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/tmp")))
"""Folders that a mount must not cover, because commands need what is in them."""
_OWN_HOME = Path("/tmp/home")


def find_place(repository: Path) -> Path | None:
    """Return the path at which commands see the tree, the one of the repository; None where that cannot be."""
    return repository if _is_free(repository) else None


def find_home_place(environ: Mapping[str, str], tree: Path | None, readable: Sequence[Path]) -> Path:
    """Return the path at which commands see their home folder: the user's, or one in ``/tmp`` where that cannot be.

    It cannot be inside the tree or the same, nor inside a folder that commands may only read.
    """
    home = Path(os.path.normpath(environ.get("HOME") or "/"))
    covered = [*readable, *(() if tree is None else (tree,))]
    is_free = home.is_absolute() and _is_free(home) and not any(home.is_relative_to(path) for path in covered)
    return home if is_free else _OWN_HOME


def _is_free(path: Path) -> bool:
    return path not in _SYSTEM and not any(path.is_relative_to(reserved) for reserved in _RESERVED)

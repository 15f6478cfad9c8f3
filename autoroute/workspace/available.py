"""The environments that commands of a run have: on their ``PATH``, and in words for models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoroute.workspace.carried import Carried, recognize
from autoroute.workspace.layers import HOME, Layers

_PREFERRED = (".venv", "venv", "env")
"""Which virtual environment is used where a project has several; then the others, by name."""


def find_available(layers: Layers) -> list[Carried]:
    """Return the environments among the layers of a run: those of the user, and what the set-up made."""
    # The lowest first: an overlay may keep files without their content in those above.
    found = (recognize(path, sources[::-1]) for path, sources in layers.sources.items() if path != HOME)
    return [item for item in found if item is not None]


def use_environments(
    variables: Mapping[str, str], available: Sequence[Carried], tree: Path, home: Path
) -> dict[str, str]:
    """Return the variables of a command with the environments of its project first on ``PATH``.

    These are the programs of one virtual environment and of ``node_modules`` at the root of the project. ``tree`` and
    ``home`` are the paths at which the command sees both. The virtual environment replaces an active one: what was
    active may be that of autoroute itself.
    """
    first, changed = [], dict(variables)
    if python := _choose_python(available, variables.get("VIRTUAL_ENV", "")):
        folder = home / python.path[2:] if python.path.startswith(f"{HOME}/") else tree / python.path
        changed["VIRTUAL_ENV"] = str(folder)
        first.append(str(folder / "bin"))
    first += [str(tree / item.path / ".bin") for item in available if item.path == "node_modules"]
    if any(item.path == "vendor/bundle" for item in available):
        changed["BUNDLE_PATH"] = str(tree / "vendor/bundle")
    if first:
        changed["PATH"] = ":".join([*first, variables.get("PATH", os.defpath)])
    return changed


def _choose_python(available: Sequence[Carried], active: str) -> Carried | None:
    """Return the virtual environment to use: the active one, else the usual names, else one in the home folder."""
    pythons = [item for item in available if item.is_python and (item.path.startswith("~/") or "/" not in item.path)]

    def rank(item: Carried) -> tuple[bool, bool, int, str]:
        usual = _PREFERRED.index(item.path) if item.path in _PREFERRED else len(_PREFERRED)
        return str(item.source) != active, item.path.startswith("~/"), usual, item.path

    return min(pythons, key=rank, default=None)

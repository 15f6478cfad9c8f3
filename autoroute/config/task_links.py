"""Links on the way to a task: one that a repository brought must not lead to another file of the user's.

``tasks/next.md -> ../../.netrc`` would send that file to a model, name a branch after it, and deliver what is made of
it. So a link in a checkout may only lead to what git tracks there.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from autoroute.errors import TaskError

_MAX_LINKS = 40
"""As Linux has it."""


def resolve_task(path: Path, name: str, environ: Mapping[str, str]) -> Path:
    """Return ``path`` without links; ``name`` is what the user wrote. Raises ``TaskError`` for a link that misleads.

    Links outside every checkout are the user's own: they lead wherever they like.
    """
    real, links = _follow(path, name)
    for link in links:
        checkout = _find_checkout(link.parent)
        if checkout is None:
            continue
        if not real.is_relative_to(checkout):
            problem = "leads out of its repository"
        elif os.path.lexists(real) and not _is_tracked(checkout, real, environ):
            problem = "leads to what git does not track"
        else:
            continue
        raise TaskError(
            f"{name}: the symbolic link {link} {problem}, to {real}",
            hint=f"if that is the task, name it: autoroute run {shlex.quote(str(real))}",
        )
    return real


def _follow(path: Path, name: str) -> tuple[Path, list[Path]]:
    """Return where a path leads, as the kernel would find it, and the links on the way."""
    current, links = Path(path.anchor or Path.cwd()), list[Path]()
    waiting = list(reversed(path.parts))
    while waiting:
        part = waiting.pop()
        if part == os.pardir:
            current = current.parent
            continue
        current /= part
        try:
            target = current.readlink()
        except (OSError, ValueError):
            continue  # not a link; a name that cannot be read is an error of whoever opens it
        links.append(current)
        if len(links) > _MAX_LINKS:
            raise TaskError(f"{name} cannot be read: too many symbolic links", hint="pass the file itself")
        current = current.parent
        waiting += reversed(target.parts)
    return current, links


def _find_checkout(folder: Path) -> Path | None:
    """Return the innermost checkout around a folder. A ``.git`` of any kind makes one: this only makes it stricter."""
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one / ".git")), None)


def _is_tracked(checkout: Path, path: Path, environ: Mapping[str, str]) -> bool:
    from autoroute.workspace.git import guarded_git

    return guarded_git(checkout, environ).succeeds("ls-files", "--error-unmatch", "--", str(path.relative_to(checkout)))

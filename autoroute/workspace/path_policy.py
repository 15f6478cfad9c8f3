"""The paths that a run may touch: one policy for the file tools and for commands in the sandbox."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from autoroute.patterns import pattern

_SEPARATORS = pattern(r"[/\\]")
_SHORT_NAME = pattern(r"~[0-9]+$")


def fold_name(name: str) -> str:
    """Return a name as file systems see it that fold case, ignore invisible characters or drop trailing dots."""
    if name.isascii():
        return name.lower().rstrip(". ")
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold().rstrip(". ")


class FileRefused(Exception):
    """A path or file that tools may not touch; ``reason`` is the sentence that the model reads."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """The tree beneath ``root``, without names in ``protected`` (in lower case) at any depth.

    ``place`` is the path at which commands see the tree, None where that is ``root``: what they print names it.
    ``read_only`` are folders, such as submodules, in which tools change nothing.
    """

    root: Path
    protected: frozenset[str] = frozenset({".git"})
    place: Path | None = None
    read_only: frozenset[str] = frozenset()

    def relative(self, path: str) -> str:
        """Return ``path`` relative to the root, "" for the root itself; accept absolute paths beneath root or place.

        This looks at the text only and resolves no link: ``beneath.py`` guards the links on the way.
        Raises ``FileRefused`` for a path that leaves the root, is protected, or is not a valid path.
        """
        # The C interface of the kernel would take the part before NUL for the whole path, and pass the check.
        if "\0" in path:
            raise FileRefused("a path cannot contain NUL")
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise FileRefused("a path cannot contain half of a surrogate pair") from None
        whole = os.path.normpath(os.path.join(self.root, path))  # noqa: PTH118 - pathlib keeps ".."
        is_at_place = self.place is not None and Path(whole).is_relative_to(self.place)
        inside = os.path.relpath(whole, self.place if self.place is not None and is_at_place else self.root)
        # By components: comparing prefixes of the text lets ``project-secrets`` pass for ``project`` (CVE-2025-54794).
        if inside == os.pardir or inside.startswith(os.pardir + os.sep):
            raise FileRefused(f"{path} is outside the project")
        if self.is_protected(inside):
            names = ", ".join(sorted(self.protected))
            raise FileRefused(f"{names} is not accessible to tools; use git commands in bash to read the history")
        return "" if inside == os.curdir else inside

    def check_writable(self, path: str) -> None:
        """Raise ``FileRefused`` for a path relative to the root that is in a read-only folder."""
        for folder in self.read_only:
            if Path(path).is_relative_to(folder):
                raise FileRefused(
                    f"{path} is in the submodule {folder}, which is read-only: it is another repository, and a change "
                    "in it would not be part of the result. Do the task without it, or say that it needs one there"
                )

    def is_protected(self, path: str) -> bool:
        """Return whether git or some file system takes a component of ``path`` for a protected name.

        On macOS and Windows ``.GIT`` is ``.git``: a write to it replaces hooks and configuration (CVE-2025-59944).
        So this compares as git does under ``core.protectHFS`` and ``core.protectNTFS``: in any case and Unicode form,
        without invisible characters, trailing dots, spaces or the name of a stream, and by short name (``git~1``).
        """
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        visible = folded if folded.isascii() else "".join(c for c in folded if unicodedata.category(c) != "Cf")
        for part in _SEPARATORS.split(visible):
            name = part.partition(":")[0].rstrip(". ")
            if name in self.protected or (_SHORT_NAME.search(name) and self._is_short(_SHORT_NAME.sub("", name))):
                return True
        return False

    def _is_short(self, stem: str) -> bool:
        """Return whether a DOS short name with this stem may mean a protected name: no dots, six characters kept."""
        return any(name.replace(".", "")[:6] == stem for name in self.protected)

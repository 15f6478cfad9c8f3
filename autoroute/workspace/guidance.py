"""The guidance that a commit has for coding agents: ``AGENTS.md``, else ``CLAUDE.md``.

Many repositories keep one text under both names: as a symbolic link, or as a file with nothing but ``@AGENTS.md`` in
it. Links and imports are followed in the commit only. One that leads out of it could show models any file of the user.
"""

from __future__ import annotations

import os
import posixpath

from autoroute.patterns import pattern
from autoroute.workspace.git import Git

_FILES = ("AGENTS.md", "CLAUDE.md")
_IMPORT = pattern(r"@(\S+)")
_MAX_FILES_READ = 20
_MAX_LINKS = 5


def read_guidance(git: Git, commit: str) -> str:
    """Return the guidance in a commit, "" if it has none that can be read."""
    return next((text for name in _FILES if (text := _read_with_imports(git, commit, name))), "")


def _read_with_imports(git: Git, commit: str, path: str) -> str:
    """Return the text of a file. If it only names others, as ``@OTHER.md``, return theirs in its place."""
    texts: list[str] = []
    waiting, known = [path], {path}
    while waiting and len(known) <= _MAX_FILES_READ:
        path = waiting.pop(0)
        text = _read(git, commit, path)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        imports = [match[1] for line in lines if (match := _IMPORT.fullmatch(line))]
        if imports and len(imports) == len(lines):
            named = [posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) for name in imports]
            waiting = [*(name for name in named if name not in known), *waiting]
            known |= set(named)
        elif text:
            texts.append(text)
    return "\n".join(texts)


def _read(git: Git, commit: str, path: str) -> str:
    """Return the text of a file in a commit, "" for none; git follows links in the commit, and only as far as that."""
    for _ in range(_MAX_LINKS):
        if not commit or path.startswith(("/", "../")) or any(character in path for character in "\0\n"):
            break
        # A link out of the commit, in a circle or to nothing is answered with ``symlink 7``, ``loop 9`` and the like.
        if text := _read_blob(git, f"{commit}:{path}", "--follow-symlinks"):
            return text
        # git does not know ``.`` in the target of a link, as in ``./CLAUDE.md``.
        if not git.run("ls-tree", commit, "--", path).startswith(b"120000 "):
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), _read_blob(git, f"{commit}:{path}")))
    return ""


def _read_blob(git: Git, name: str, *options: str) -> str:
    answer = git.run("cat-file", "--batch", *options, data=os.fsencode(f"{name}\n"))
    header, _, rest = answer.partition(b"\n")
    _, kind, size, *_ = (*header.split(b" "), b"", b"")
    return rest[: int(size)].decode("utf-8", "replace") if kind == b"blob" else ""

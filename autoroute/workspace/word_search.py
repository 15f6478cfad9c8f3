"""Which files may contain a word, as git finds them: many times as fast as reading all files here.

git searches the files that it knows and those that are new. About others, such as ignored ones and those of a nested
repository, nothing is known, so they may contain anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autoroute.errors import WorkspaceError
from autoroute.workspace.git import Git

_UTF_16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
"""The bytes that begin a text in UTF-16, in which no word is found as it is; Python passes them on as they are."""
_NOTHING_FOUND = 1


def find_holders(git: Git, words: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that tells of a path whether its file may contain one of these ASCII words.

    ``git`` runs in the tree, from which special files were removed: it would wait for a pipe.
    """
    expressions = [part for word in (*words, *_UTF_16_MARKS) for part in ("-e", word)]
    try:
        known = set(git.paths("ls-files", "--cached", "--others", "--exclude-standard", "-z"))
        options = ("--untracked", "--files-with-matches", "--fixed-strings", "--text", "--no-recurse-submodules", "-z")
        output = git.run("grep", *options, *expressions, accept=(0, _NOTHING_FOUND))
    except WorkspaceError:
        return lambda _path: True
    holders = {path.decode("utf-8", "surrogateescape") for path in output.split(b"\0")}
    return lambda path: path in holders or path not in known

"""Links planted where the next command has its mounts: in its home folder, and in the tree.

A mount follows links on its way, and whoever makes the mount point has the rights of the user. ``@HOME@/tools`` is
above a folder that commands may read, and so is ``@PROJECT@/packages`` in the tree.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..snippet import Snippet

_PARENTS = {"home": "@HOME@/tools", "tree": "@PROJECT@/packages", "deep": "@HOME@/tools/deep"}
_TARGETS = {
    "other": "@OTHER@",
    "dots": "@UP@@OTHER@",
    "process": "/proc/self/root@OTHER@",
    "old-root": "/oldroot@OTHER@",
    "new-root": "/newroot/../oldroot@OTHER@",
    "home": "@HOME@",
}
_GONE = "mv {parent} {parent}-away || rm -rf {parent}"


def _all() -> Iterator[Snippet]:
    for where, parent in _PARENTS.items():
        gone = _GONE.format(parent=parent)
        used = f"echo owned > {parent}/owned; mkdir -p {parent}/deep/kit; echo owned > {parent}/deep/kit/owned"
        for to, target in _TARGETS.items():
            text = f"{gone}; mkdir -p {parent}; rmdir {parent}; ln -s {target} {parent}"
            yield Snippet(f"parent-{where}-{to}", "mounts", text, once=True, then=used)
        text = f"{gone}; mkdir -p {parent}/deep; ln -s @OTHER@/notes.txt {parent}/deep/kit"
        yield Snippet(f"point-{where}-link", "mounts", text, once=True, then=f"echo owned > {parent}/deep/kit")
        text = f"{gone}; mkdir -p {parent}/deep; ln -s @OTHER@ {parent}/deep/kit"
        yield Snippet(f"point-{where}-link-to-folder", "mounts", text, once=True, then=used)
        text = f"{gone}; mkdir -p {parent}/deep; ln @OTHER@/notes.txt {parent}/deep/kit"
        yield Snippet(f"point-{where}-hard-link", "mounts", text, once=True, then=f"echo owned >> {parent}/deep/kit")
        text = f"{gone}; mkdir -p {parent}/deep/kit; ln -s @OTHER@/new {parent}/deep/kit/etc; true"
        yield Snippet(f"inside-{where}", "mounts", text, once=True, then=f"echo owned > {parent}/deep/kit/etc")
    plain = "rm -rf .git; ln -s @OTHER@/.git .git; git init -q @OTHER@"
    yield Snippet("git-link", "mounts", plain, once=True, then="git config core.pager owned")
    named = "rm -rf .git; echo 'gitdir: @OTHER@/.git' > .git; git init -q @OTHER@"
    yield Snippet("git-file", "mounts", named, once=True, then="git config core.pager owned")


MOUNTS = tuple(_all())

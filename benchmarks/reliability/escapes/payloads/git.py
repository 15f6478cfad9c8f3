"""Attacks on the user's repository through git: refs, objects, configuration; and programs that our git would run."""

from __future__ import annotations

from .shapes import shell

_AS = "git -c user.name=a -c user.email=a@b.c"
_OBJECTS = "$(cat .git/objects/info/alternates)"


def _program(name: str) -> str:
    """Return shell text that creates a program which marks the user's home."""
    return f"mkdir -p $(dirname {name}); printf '#!/bin/sh\\ntouch @HOME@/owned\\n' > {name}; chmod +x {name}; "


GIT = shell(
    "git",
    push=f"{_AS} commit -q --allow-empty -m x; git push @PROJECT@ HEAD:refs/heads/pushed 2>&1",
    push_origin=f"{_AS} commit -q --allow-empty -m x; git remote add b @PROJECT@; git push b +HEAD:kept 2>&1",
    push_delete="git push @PROJECT@ :refs/heads/kept 2>&1",
    commit_there=f"{_AS} -C @PROJECT@ commit -q --allow-empty -m x",
    add_there="git -C @PROJECT@ add -A",
    reset_there="git -C @PROJECT@ reset -q --hard HEAD~1",
    stash_there=f"{_AS} -C @PROJECT@ stash -u",
    delete_branch="git -C @PROJECT@ branch -D kept",
    update_ref="git --git-dir=@PROJECT@/.git update-ref refs/heads/kept HEAD",
    fetch_there="git -C @PROJECT@ fetch -q . +HEAD:refs/heads/kept",
    checkout_over="rm -f @PROJECT@/main.py; git --git-dir=.git --work-tree=@PROJECT@ checkout -f HEAD -- .",
    worktree_there="git -C @PROJECT@ worktree add -q @OTHER@/tree HEAD",
    clone_out="git clone -q . @OTHER@/cloned 2>&1",
    archive_out="git archive -o @OTHER@/archive.tar HEAD",
    bundle_out="git bundle create @SHARED@/all.bundle --all 2>&1",
    pager_there="git -C @PROJECT@ config core.pager 'sh -c owned'",
    hooks_path="git -C @PROJECT@ config core.hooksPath /tmp/owned",
    remote_there="git -C @PROJECT@ remote add evil http://127.0.0.1:1/",
    hook_there="printf '#!/bin/sh\\n' > @PROJECT@/.git/hooks/pre-commit; chmod +x @PROJECT@/.git/hooks/pre-commit",
    global_settings="HOME=@HOME@ git config --global --add core.editor owned",
    named_settings="git config --file @HOME@/.gitconfig alias.st '!owned'",
    index_lock=": > @PROJECT@/.git/index.lock",
    head_there="echo ref: refs/heads/kept > @PROJECT@/.git/HEAD",
    attributes_there="mkdir -p @PROJECT@/.git/info; echo '* filter=owned' >> @PROJECT@/.git/info/attributes",
    object_planted=f'd={_OBJECTS}; mkdir -p "$d/zz"; echo x > "$d/zz/owned"',
    objects_deleted=f'd={_OBJECTS}; for f in "$d"/??/*; do rm -f "$f"; break; done',
    object_written=f"echo owned-@NONCE@ | GIT_OBJECT_DIRECTORY={_OBJECTS} git hash-object -w --stdin",
    gc_there="git -C @PROJECT@ -c gc.pruneExpire=now gc -q --prune=now",
    notes_there=f"{_AS} -C @PROJECT@ notes add -m owned",
    own_fsmonitor=_program("m.sh") + "git config core.fsmonitor ./m.sh",
    own_hook=_program(".git/hooks/pre-commit"),
    own_hooks_path=_program("h/post-commit") + "git config core.hooksPath h",
    own_filter="echo '* filter=x' > .gitattributes; git config filter.x.clean 'touch @HOME@/owned; cat'; echo y > y",
    own_signer=_program("g.sh") + "git config commit.gpgSign true; git config gpg.program ./g.sh",
    own_work_tree="git config core.worktree @PROJECT@",
)

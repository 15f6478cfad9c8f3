"""States of a checkout, and settings that change how git writes one."""

from __future__ import annotations

import os

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY, call
from tests.repositories.odd import commit, configure, edit, odd, put


@odd("grep -q two a.txt", steps=(edit("a.txt", "one", "two"),), changed=("a.txt",), layers=("default", "off"))
def autocrlf(world: World) -> None:
    commit(world, {"a.txt": "one\nlast\n", "b.txt": "b\n"})
    configure(world, core__autocrlf="true")
    for name in ("a.txt", "b.txt", "README"):
        (world.repository / name).unlink()
        world.git("checkout", "--", name)
    assert b"\r\n" in (world.repository / "a.txt").read_bytes()


@odd("grep -q two a.txt", steps=(edit("a.txt", "one", "two"),), changed=("a.txt",))
def autocrlf_input_and_safecrlf(world: World) -> None:
    commit(world, {"a.txt": "one\nlast\n", "b.txt": b"b\r\nc\r\n"})
    configure(world, core__autocrlf="input", core__safecrlf="true", core__eol="crlf")


@odd("sh run.sh | grep -q world", steps=(edit("run.sh", "hello", "hello, world"),), changed=("run.sh",))
def file_mode_false(world: World) -> None:
    commit(world, {"run.sh": "#!/bin/sh\necho hello\n", "other.sh": "x\n"}, mode=0o755)
    configure(world, core__fileMode="false")
    for name in ("run.sh", "other.sh"):
        (world.repository / name).chmod(0o644)


@odd()
def symlinks_false(world: World) -> None:
    (world.repository / "link").symlink_to("README")
    commit(world)
    configure(world, core__symlinks="false")
    (world.repository / "link").unlink()
    world.git("checkout", "--", "link")
    assert not (world.repository / "link").is_symlink()


@odd("grep -q two a.txt", steps=(edit("a.txt", "one", "two"),), changed=("a.txt",))
def files_that_git_is_told_not_to_look_at(world: World) -> None:
    commit(world, {"a.txt": "one\n", "skipped.txt": "one\n", "assumed.txt": "one\n"})
    world.git("update-index", "--skip-worktree", "skipped.txt")
    world.git("update-index", "--assume-unchanged", "assumed.txt")
    put(world, {"skipped.txt": "mine\n", "assumed.txt": "mine\n"})


@odd(
    "grep -q two a.txt", steps=(edit("a.txt", "one", "two"),), changed=("a.txt",), layers=("default", "landlock", "off")
)
def a_dirty_checkout_with_staged_changes(world: World) -> None:
    commit(world, {"a.txt": "one\n", "dirty.txt": "one\n", "staged.txt": "one\n", "gone.txt": "one\n"})
    put(world, {"dirty.txt": "mine\n", "staged.txt": "staged\n", "new.txt": "mine\n"})
    (world.repository / "gone.txt").unlink()


@odd("grep -q two a.txt", steps=(edit("a.txt", "one", "two"),), changed=("a.txt",))
def a_stash_and_hooks_that_refuse(world: World) -> None:
    commit(world, {"a.txt": "one\n"})
    put(world, {"README": "stashed\n"})
    world.git("stash", "--quiet")
    hooks = world.repository / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "post-checkout", "reference-transaction-off", "fsmonitor-watchman"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (hooks / name).chmod(0o755)


@odd()
def settings_that_change_what_git_prints(world: World) -> None:
    configure(world, diff__noprefix="true", diff__mnemonicPrefix="true", diff__external="false")
    configure(world, diff__renames="copies", diff__orderFile=os.devnull, color__ui="always", core__quotePath="true")
    configure(world, status__showUntrackedFiles="no", status__short="true", status__branch="true")
    configure(world, core__pager="false", core__abbrev="5", log__showSignature="true", i18n__commitEncoding="latin1")


@odd()
def settings_that_change_what_git_does(world: World) -> None:
    configure(world, commit__cleanup="verbatim", commit__template="/not/there", core__commentChar="%")
    configure(world, merge__log="true", merge__stat="false", merge__conflictStyle="diff3", rerere__enabled="true")
    configure(world, core__ignoreCase="true", core__precomposeUnicode="true", core__protectNTFS="true")
    configure(world, gc__auto="1", transfer__fsckObjects="true", core__logAllRefUpdates="always")
    configure(world, core__whitespace="cr-at-eol", apply__whitespace="fix", core__sharedRepository="group")


@odd(meanwhile=lambda world: commit(world, {"meanwhile.txt": "mine\n"}, "Work meanwhile"))
def a_branch_that_goes_on_while_it_runs(world: World) -> None:
    configure(world, merge__ff="true")


@odd(
    VERIFY,
    flags=("--include-dirty",),
    changed=("hello.txt", "new.txt", "dirty.txt"),
    meanwhile=lambda world: _commit_own(world),
)
def uncommitted_changes_that_come_along(world: World) -> None:
    commit(world, {"dirty.txt": "one\n"})
    put(world, {"dirty.txt": "mine\n", "new.txt": "mine\n"})


def _commit_own(world: World) -> None:
    commit(world, message="Commit my own changes")


@odd("grep -q two bin/tool", steps=(call("edit", path="bin/tool", old="one", new="two"),), changed=("bin/tool",))
def a_checkout_with_an_umask_of_its_own(world: World) -> None:
    commit(world, {"bin/tool": "one\n"}, mode=0o700)
    (world.repository / "bin").chmod(0o700)
    world.repository.chmod(0o750)

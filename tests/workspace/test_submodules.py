"""Submodules in the workspace: from the user's own clones, read-only, whatever their configuration says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoroute.workspace import Changes
from autoroute.workspace.submodules import describe_missing, find_dirty, find_submodules
from tests.workspace.conftest import Place

_FILE = ("-c", "protocol.file.allow=always")


def other(place: Place, name: str) -> Place:
    """A repository beside the project, with one file."""
    made = Place(place.folder, place.folder / name, place.environ)
    made.root.mkdir()
    made.git("init", "--quiet")
    made.write("amounts.py", f"NAME = '{name}'\n")
    made.commit(f"Begin {name}")
    return made


def add(place: Place, source: Place, path: str) -> None:
    place.git(*_FILE, "submodule", "--quiet", "add", str(source.root), path)
    place.commit(f"Add {path}")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def library(place: Place) -> Place:
    """The project's submodule at vendor/lib."""
    made = other(place, "library")
    add(place, made, "vendor/lib")
    return made


def test_a_submodule_is_checked_out_from_the_users_own_clone(place: Place, library: Place) -> None:
    shutil.rmtree(library.root)
    clone = place.clone()
    commit = place.git("rev-parse", "HEAD:vendor/lib")
    assert dict(clone.submodules) == {"vendor/lib": commit}
    assert (clone.root / "vendor/lib/amounts.py").read_text() == "NAME = 'library'\n"
    assert clone.snapshot() == clone.head_tree()
    inside = clone.root / "vendor/lib"
    assert place.git("log", "--format=%s", cwd=inside) == "Begin library"
    assert place.git("submodule", "status", cwd=clone.root).split()[:2] == [commit, "vendor/lib"]
    assert place.git("submodule", "update", "--init", "--recursive", cwd=clone.root) == ""
    assert place.git("status", "--porcelain", cwd=clone.root) == ""
    assert place.git("fsck", cwd=inside) == ""


def test_nested_submodules_are_checked_out(place: Place) -> None:
    inner, outer = other(place, "inner"), other(place, "outer")
    add(outer, inner, "deep")
    add(place, outer, "sub")
    place.git(*_FILE, "submodule", "--quiet", "update", "--init", "--recursive")
    clone = place.clone()
    assert (clone.root / "sub/deep/amounts.py").read_text() == "NAME = 'inner'\n"
    (clone.root / "sub/deep/amounts.py").write_text("changed\n")
    clone.snapshot()
    assert clone.take_submodule_changes() == Changes(modified=("sub/deep/amounts.py",))
    assert place.git("status", "--porcelain", cwd=clone.root) == ""


def test_a_submodule_whose_git_is_a_folder_is_checked_out(place: Place) -> None:
    inner = Place(place.folder, place.root / "sub", place.environ)
    inner.root.mkdir()
    inner.git("init", "--quiet")
    inner.write("i.txt", "inner\n")
    inner.commit()
    place.commit("With a submodule")
    assert (place.clone().root / "sub/i.txt").read_text() == "inner\n"


def test_submodules_of_a_linked_worktree_are_checked_out(place: Place, library: Place) -> None:
    place.git("worktree", "add", "--quiet", str(place.folder / "linked"))
    linked = Place(place.folder, place.folder / "linked", place.environ)
    assert (linked.clone().root / "vendor/lib/amounts.py").exists(), "from the main checkout's clone"
    linked.git(*_FILE, "submodule", "--quiet", "update", "--init")
    shutil.rmtree(place.root / ".git/modules/vendor")
    assert (linked.clone("r2").root / "vendor/lib/amounts.py").exists()


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_submodules_of_either_object_format_work(place: Place, hash_name: str) -> None:
    for name in ("super", "sub"):
        (place.folder / name).mkdir()
        made = Place(place.folder, place.folder / name, place.environ)
        made.git("init", "--quiet", f"--object-format={hash_name}")
        made.write("a.txt", f"{name}\n")
        made.commit()
    outer = Place(place.folder, place.folder / "super", place.environ)
    add(outer, Place(place.folder, place.folder / "sub", place.environ), "sub")
    clone = outer.clone()
    assert (clone.root / "sub/a.txt").read_text() == "sub\n"
    assert clone.snapshot() == clone.head_tree()


def test_what_commands_change_in_a_submodule_is_undone_and_told(place: Place, library: Place) -> None:
    clone = place.clone()
    inside = clone.root / "vendor/lib"
    (inside / "amounts.py").write_text("NAME = 'mine'\n")
    (inside / "new").mkdir()
    (inside / "new/file.txt").write_text("new\n")
    (inside / ".gitignore").write_text("new/\n")
    (clone.root / "a.txt").write_text("changed\n")
    tree = clone.snapshot()
    assert clone.compare(tree) == Changes(modified=("a.txt",))
    changes = clone.take_submodule_changes()
    assert changes == Changes(
        added=("vendor/lib/.gitignore", "vendor/lib/new/file.txt"), modified=("vendor/lib/amounts.py",)
    )
    assert clone.take_submodule_changes() == Changes()
    assert (inside / "amounts.py").read_text() == "NAME = 'library'\n"
    assert [path.name for path in inside.rglob("*") if path.is_file()] == [".git", "amounts.py"]


def test_a_commit_inside_a_submodule_does_not_move_its_pointer_and_is_told(place: Place, library: Place) -> None:
    clone = place.clone()
    inside = clone.root / "vendor/lib"
    (inside / "amounts.py").write_text("NAME = 'mine'\n")
    place.git("commit", "--quiet", "--all", "--message=Mine", cwd=inside)
    place.git("add", "vendor/lib", cwd=clone.root)
    assert clone.snapshot() == clone.head_tree()
    assert clone.take_submodule_changes() == Changes(modified=("vendor/lib", "vendor/lib/amounts.py"))
    assert place.git("log", "--format=%s", cwd=inside) == "Begin library"
    assert place.git("rev-parse", "HEAD", cwd=inside) == clone.submodules["vendor/lib"]


@pytest.mark.parametrize("where", ["vendor/lib", "vendor"])
def test_a_link_in_place_of_a_submodule_is_not_followed(place: Place, library: Place, where: str) -> None:
    outside = place.folder / "outside"
    (outside / "lib").mkdir(parents=True)
    (outside / "amounts.py").write_text("theirs\n")
    (outside / "lib/amounts.py").write_text("theirs\n")
    clone = place.clone()
    shutil.rmtree(clone.root / where)
    (clone.root / where).symlink_to(outside)
    clone.snapshot()
    assert "vendor/lib" in clone.take_submodule_changes().modified
    assert (clone.root / "vendor/lib/amounts.py").read_text() == "NAME = 'library'\n"
    assert {path.read_text() for path in outside.rglob("*.py")} == {"theirs\n"}
    assert files(outside) == ["amounts.py", "lib"]


def test_a_submodule_that_is_removed_with_its_entry_stays_removed(place: Place, library: Place) -> None:
    clone = place.clone()
    shutil.rmtree(clone.root / "vendor")
    kept = clone.snapshot()
    assert kept == clone.head_tree(), "its entry is still there, so the folder comes back"
    clone.take_submodule_changes()
    shutil.rmtree(clone.root / "vendor")
    (clone.root / ".gitmodules").unlink()
    tree = clone.snapshot()
    assert clone.compare(tree) == Changes(deleted=(".gitmodules", "vendor/lib"))
    assert clone.take_submodule_changes() == Changes()
    clone.restore(kept)
    assert (clone.root / "vendor/lib/amounts.py").exists()


def test_a_reopened_clone_still_restores_its_submodules(place: Place, library: Place) -> None:
    first = place.clone()
    base = first.base
    again = place.plan()
    again.open(base)
    (again.root / "vendor/lib/amounts.py").unlink()
    again.snapshot()
    assert again.take_submodule_changes() == Changes(modified=("vendor/lib/amounts.py",))
    assert (again.root / "vendor/lib/amounts.py").exists()


def test_ignored_files_in_a_submodule_do_not_reach_the_last_verification(place: Place, library: Place) -> None:
    library.write(".gitignore", "build/\n*.log\n")
    library.commit("Ignore what a build makes")
    place.git(*_FILE, "pull", "--quiet", cwd=place.root / "vendor/lib")
    place.commit("Newer library")
    clone = place.clone()
    inside = clone.root / "vendor/lib"
    (inside / "build").mkdir()
    (inside / "build/made.py").write_text("by the set-up\n")
    clone.keep_setup()
    (inside / "left.log").write_text("by a command\n")
    (inside / "amounts.py").write_text("changed\n")
    assert clone.make_pristine().ignored == ("vendor/lib/left.log",)
    assert not (inside / "left.log").exists()
    assert (inside / "amounts.py").read_text() == "NAME = 'library'\n"
    assert (inside / "build/made.py").read_text() == "by the set-up\n"
    assert place.git("status", "--porcelain", cwd=clone.root) == ""
    assert place.git("log", "--format=%s", "-1", cwd=inside) == "Ignore what a build makes"


def test_missing_submodules_are_named_with_the_command_that_brings_them(place: Place, library: Place) -> None:
    assert describe_missing(find_submodules(place.repository(), place.repository().head)) == []
    place.git("submodule", "--quiet", "deinit", "--force", "vendor/lib")
    shutil.rmtree(place.root / ".git/modules")
    repository = place.repository()
    assert describe_missing(find_submodules(repository, repository.head)) == [
        (
            "submodule vendor/lib: it is not initialized in your checkout, so the folder is empty in this run "
            "(git submodule update --init --recursive -- vendor/lib)"
        )
    ]
    clone = place.clone()
    assert clone.submodules == {"vendor/lib": ""}
    assert files(clone.root / "vendor/lib") == []
    assert clone.snapshot() == clone.head_tree()
    (clone.root / "vendor/lib/new.py").write_text("new\n")
    assert clone.snapshot() == clone.head_tree()
    assert clone.take_submodule_changes() == Changes(added=("vendor/lib/new.py",))


def test_a_commit_that_the_users_clone_lacks_is_named(place: Place, library: Place) -> None:
    missing = "1" * 40
    place.git("update-index", "--cacheinfo", f"160000,{missing},vendor/lib")
    place.git("commit", "--quiet", "--message=Ahead")
    repository = place.repository()
    assert describe_missing(find_submodules(repository, repository.head)) == [
        (
            "submodule vendor/lib: your clone of it lacks the commit that is recorded, so the folder is empty in this run "
            "(git submodule update --init --recursive -- vendor/lib)"
        )
    ]
    assert files(place.clone().root / "vendor/lib") == []


@pytest.mark.parametrize("name", ["../../../private", "..", "a/../../b", "x/.git/y"])
def test_a_hostile_name_leads_nowhere(place: Place, library: Place, name: str) -> None:
    private = other(place, "private")
    text = f'[submodule "{name}"]\n\tpath = vendor/lib\n\turl = x\n'
    place.write(".gitmodules", text)
    shutil.rmtree(place.root / "vendor/lib")
    (place.root / "vendor/lib").mkdir()
    place.git("update-index", "--cacheinfo", f"160000,{private.git('rev-parse', 'HEAD')},vendor/lib")
    place.git("commit", "--quiet", "--all", "--message=Hostile")
    repository = place.repository()
    [found] = describe_missing(find_submodules(repository, repository.head))
    assert found.startswith("submodule vendor/lib: its path or name in .gitmodules is unsafe")
    assert files(place.clone().root / "vendor/lib") == []


@pytest.mark.parametrize("link", ["modules", "modules/vendor/lib", "modules/vendor/lib/objects"])
def test_a_link_to_a_private_repository_is_not_followed(place: Place, library: Place, link: str) -> None:
    moved = place.folder / "moved"
    (place.root / ".git" / link).rename(moved)
    (place.root / ".git" / link).symlink_to(moved)
    assert files(place.clone().root / "vendor/lib") == []


def test_the_configuration_of_a_submodule_runs_nothing(place: Place, library: Place) -> None:
    mark = place.folder / "mark"
    program = place.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    library.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    place.git(*_FILE, "pull", "--quiet", cwd=(library.commit(), place.root / "vendor/lib")[1])
    place.commit("Newer library")
    for key in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "core.fsmonitor",
        "diff.evil.command",
    ):
        place.git("config", key, str(program), cwd=place.root / "vendor/lib")
    hooks = place.root / ".git/modules/vendor/lib/hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-commit"):
        shutil.copy(program, hooks / hook)
    mark.unlink(missing_ok=True)
    clone = place.clone()
    (clone.root / "vendor/lib/amounts.py").write_text("changed\n")
    clone.snapshot()
    clone.restore(clone.head_tree())
    assert clone.take_submodule_changes()
    clone.publish(place.folder / "patch")
    assert not mark.exists()
    place.git("status", cwd=place.root / "vendor/lib")
    assert mark.exists(), "the program does run where git is not guarded"


def test_the_users_submodule_is_unchanged_to_the_byte(place: Place, library: Place) -> None:
    before = place.fingerprint()
    clone = place.clone()
    shutil.rmtree(clone.root / "vendor/lib")
    (clone.root / "a.txt").write_text("changed\n")
    clone.commit(clone.snapshot(), "Change", "", {})
    publication = clone.publish(place.folder / "patch")
    assert place.fingerprint() == before
    place.git("merge", "--quiet", publication.branch)
    assert place.git("status", "--porcelain") == ""
    assert place.git("fsck") == ""


def test_objects_of_a_submodule_folder_with_odd_names_are_found(place: Place) -> None:
    inner = other(place, "library")
    root = place.folder / 'odd: "name" \\'
    place.root.rename(root)
    odd = Place(place.folder, root, place.environ)
    add(odd, inner, "sub")
    assert (Path(odd.clone().root) / "sub/amounts.py").exists()


def test_submodules_with_changes_of_the_user_are_found_without_running_their_programs(
    place: Place, library: Place
) -> None:
    repository = place.repository()
    submodules = find_submodules(repository, repository.head)
    mark = place.folder / "mark"
    place.git("config", "core.fsmonitor", f"touch {mark}; false", cwd=place.root / "vendor/lib")
    before = place.fingerprint()
    assert find_dirty(repository, submodules) == []
    place.write("vendor/lib/new.py", "new\n")
    assert find_dirty(repository, submodules) == ["vendor/lib"]
    (place.root / "vendor/lib/new.py").unlink()
    assert place.fingerprint() == before
    place.write("vendor/lib/amounts.py", "mine\n")
    assert find_dirty(repository, submodules) == ["vendor/lib"]
    assert not mark.exists()

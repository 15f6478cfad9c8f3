"""Git LFS files in the workspace: content from the user's store, pointers in the commits, new content delivered."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from autoroute.workspace import Changes, SecretsFound
from autoroute.workspace.lfs import describe_filters
from autoroute.workspace.lfs_filter import object_path
from tests.workspace.conftest import Place

SMALL, LARGE = b"\x00small\n", bytes(range(256)) * 2_000


def pointer(content: bytes) -> bytes:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


def keep(store: Path, content: bytes) -> Path:
    """Write content into a store of Git LFS by hand."""
    path = object_path(store / "objects", hashlib.sha256(content).hexdigest())
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def stored(place: Place, commit: str, path: str) -> bytes:
    return (place.git("show", f"{commit}:{path}") + "\n").encode()


@pytest.fixture
def large(place: Place) -> Place:
    """The project with two LFS files, whose content is in the user's store."""
    place.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    place.write("small.bin", pointer(SMALL))
    place.write("deep/large.bin", pointer(LARGE))
    place.write("empty.bin", b"")
    place.commit("Add large files")
    for content in (SMALL, LARGE):
        keep(place.root / ".git/lfs", content)
    return place


def test_files_have_the_content_of_the_users_store(large: Place) -> None:
    clone = large.clone()
    assert (clone.root / "small.bin").read_bytes() == SMALL
    assert (clone.root / "deep/large.bin").read_bytes() == LARGE
    assert (clone.root / "empty.bin").read_bytes() == b""
    (clone.root / "small.bin").touch()
    assert clone.snapshot() == clone.head_tree()
    assert describe_filters(large.repository(), clone.base) == []
    (clone.root / "deep/large.bin").unlink()
    assert clone.restore(clone.head_tree()) == Changes(deleted=("deep/large.bin",))
    assert (clone.root / "deep/large.bin").read_bytes() == LARGE


def test_changed_and_new_files_become_pointers_with_their_content_delivered(large: Place) -> None:
    clone = large.clone()
    new, changed = LARGE + b"new", b"changed\n"
    (clone.root / "new.bin").write_bytes(new)
    (clone.root / "small.bin").write_bytes(changed)
    tree = clone.snapshot()
    assert clone.compare(tree) == Changes(added=("new.bin",), modified=("small.bin",))
    commit = clone.commit(tree, "Change", "", {})
    store = large.root / ".git/lfs/objects"
    assert not object_path(store, hashlib.sha256(new).hexdigest()).exists(), "not before the commits are published"
    assert clone.publish(large.folder / "patch").excluded == ()
    assert stored(large, commit, "new.bin") == pointer(new)
    assert stored(large, commit, "small.bin") == pointer(changed)
    assert stored(large, commit, "deep/large.bin") == pointer(LARGE)
    for content in (new, changed):
        assert object_path(store, hashlib.sha256(content).hexdigest()).read_bytes() == content
    assert [path.name for path in store.iterdir() if path.is_file()] == []
    large.git("merge", "--quiet", commit)
    assert large.git("status", "--porcelain") == ""
    assert large.git("fsck") == ""


def test_a_pattern_that_a_model_adds_works(place: Place) -> None:
    clone = place.clone()
    (clone.root / ".gitattributes").write_text("*.dat filter=lfs\n")
    (clone.root / "data.dat").write_bytes(LARGE)
    commit = clone.commit(clone.snapshot(), "Add data", "", {})
    clone.publish(place.folder / "patch")
    assert stored(place, commit, "data.dat") == pointer(LARGE)
    assert object_path(place.root / ".git/lfs/objects", hashlib.sha256(LARGE).hexdigest()).read_bytes() == LARGE


def test_content_that_the_store_lacks_stays_a_pointer_and_is_named(large: Place) -> None:
    for content in (SMALL, LARGE):
        object_path(large.root / ".git/lfs/objects", hashlib.sha256(content).hexdigest()).unlink()
    clone = large.clone()
    assert (clone.root / "small.bin").read_bytes() == pointer(SMALL)
    (clone.root / "small.bin").touch()
    assert clone.snapshot() == clone.head_tree()
    assert describe_filters(large.repository(), clone.base) == [
        (
            "2 Git LFS files without content in your store: deep/large.bin, small.bin; "
            "a run has pointers there (git lfs pull)"
        )
    ]


def test_content_that_does_not_match_its_name_is_not_used(large: Place) -> None:
    path = object_path(large.root / ".git/lfs/objects", hashlib.sha256(SMALL).hexdigest())
    path.write_bytes(SMALL[::-1])
    assert (large.clone().root / "small.bin").read_bytes() == pointer(SMALL)


def test_a_pointer_that_a_model_wrote_without_content_is_named(large: Place) -> None:
    clone = large.clone()
    (clone.root / "made_up.bin").write_bytes(pointer(b"made up"))
    clone.commit(clone.snapshot(), "Make up", "", {})
    assert clone.publish(large.folder / "patch").excluded == ("made_up.bin (Git LFS content not found)",)


@pytest.mark.parametrize("scope", ["relative", "absolute"])
def test_a_store_elsewhere_is_found_and_filled(large: Place, scope: str) -> None:
    elsewhere = large.root / ".git/elsewhere" if scope == "relative" else large.folder / "elsewhere"
    (large.root / ".git/lfs").rename(elsewhere)
    large.git("config", "lfs.storage", "elsewhere" if scope == "relative" else str(elsewhere))
    clone = large.clone()
    assert (clone.root / "small.bin").read_bytes() == SMALL
    (clone.root / "small.bin").write_bytes(LARGE[1:])
    clone.commit(clone.snapshot(), "Change", "", {})
    clone.publish(large.folder / "patch")
    assert object_path(elsewhere / "objects", hashlib.sha256(LARGE[1:]).hexdigest()).read_bytes() == LARGE[1:]


def test_a_secret_in_the_content_stops_the_commits(large: Place) -> None:
    clone = large.clone()
    token = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0" * 2
    (clone.root / "small.bin").write_bytes(LARGE * 17 + token)
    tree = clone.snapshot()
    assert clone.find_secrets(tree) == ["small.bin: a GitHub token"]
    clone.commit(tree, "Leak", "", {})
    with pytest.raises(SecretsFound, match=r"small\.bin: a GitHub token"):
        clone.publish(large.folder / "patch")


def test_a_file_that_was_committed_without_the_filter_is_not_rewritten(large: Place) -> None:
    large.write("raw.bin", "raw\n")
    old = b"version https://hawser.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    large.write("old.bin", old)
    large.commit("Commit it raw")
    clone = large.clone()
    for name in ("raw.bin", "old.bin"):
        (clone.root / name).write_bytes((clone.root / name).read_bytes())
    (clone.root / "a.txt").write_text("changed\n")
    assert clone.compare(clone.snapshot()) == Changes(modified=("a.txt",))


def test_the_programs_of_a_configuration_do_not_run(large: Place) -> None:
    mark = large.folder / "mark"
    program = large.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    for key in ("clean", "smudge", "process"):
        large.git("config", f"filter.lfs.{key}", str(program))
    clone = large.clone()
    (clone.root / "small.bin").write_bytes(b"changed\n")
    clone.commit(clone.snapshot(), "Change", "", {})
    clone.publish(large.folder / "patch")
    assert not mark.exists()


def test_other_filters_are_named_and_not_run(place: Place) -> None:
    place.write(".gitattributes", "# *.x filter=none\n*.key filter=git-crypt diff=git-crypt\n")
    place.write("docs/.gitattributes", "*.ipynb filter=nbstripout\n")
    place.commit()
    repository = place.repository()
    assert describe_filters(repository, repository.head) == [
        "filter git-crypt is not run: *.key hold what the repository stores",
        "filter nbstripout is not run: docs/*.ipynb hold what the repository stores",
    ]
    assert describe_filters(repository, "") == []

"""What differs right after the checkout is not a change: line endings, encodings and ``$Id$`` under attributes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.conversions import _map_lines
from tests.workspace.conftest import Place

CRLF = b"class A {\r\n}\r\n" * 30
MIXED = b"class B {\r\n}\n" * 30
ATTRIBUTES = (
    "*.cs text eol=crlf\n",
    "*.cs text\n",
    "*.cs crlf\n",
    "*.cs eol=lf\n",
    "* text=auto\n*.cs text\n",
    "*.cs ident\n",
    "*.cs working-tree-encoding=UTF-16LE-BOM\n",
)
FILES = {
    "src/Old.cs": CRLF,
    "src/Mixed.cs": MIXED,
    "src/Id.cs": b"// $Id: an older one $\r\nclass C {\r\n}\r\n",
    'src/odd "[*]\\ name\t.cs': CRLF,
    "src/Plain.cs": b"class D {\n}\n",
    "src/Wide.cs": "\ufeffclass E {\r\n}\r\n".encode("utf-16-le"),
}


def make(place: Place, attributes: str) -> dict[str, bytes]:
    """Commit the files before the rule that would convert them, and check them out under it, as a fresh clone is."""
    for name, data in FILES.items():
        place.write(name, data)
    place.commit("Before")
    place.write(".gitattributes", attributes)
    place.git("add", ".gitattributes")
    place.git("commit", "--quiet", "--message=Attributes")
    for name in FILES:
        (place.root / name).unlink()
    place.git("checkout", "--quiet", "--", ".")
    return {name: (place.root / name).read_bytes() for name in FILES}


def touch_everything(root: Path) -> None:
    """Change the time of every file, so that git looks at each again."""
    for path in root.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(root).parts:
            os.utime(path, (1, 1))


def changed(place: Place, before: str, after: str) -> list[str]:
    found = place.git("diff", "--name-only", "-z", before, after).split("\0")
    return sorted(name for name in found if name)


def publish(place: Place, clone: PrivateClone) -> None:
    clone.commit(clone.snapshot(), "Change", "", {})
    clone.publish(place.folder / "p")


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_files_that_no_one_changed_stay_the_same_in_the_commit(place: Place, attributes: str) -> None:
    make(place, attributes)
    clone = place.clone()
    touch_everything(clone.root)
    assert clone.snapshot() == clone.head_tree()
    (clone.root / "new.cs").write_bytes(
        b"class N {\n}\n" if "working" not in attributes else "\ufeffn".encode("utf-16-le")
    )
    touch_everything(clone.root)
    publish(place, clone)
    assert changed(place, "main", "autoroute/r1") == ["new.cs"]
    assert place.git("fsck", "--no-dangling") == ""


@pytest.mark.parametrize("attributes", ATTRIBUTES[:-1])
@pytest.mark.parametrize("name", ["src/Old.cs", "src/Mixed.cs", "src/Id.cs", 'src/odd "[*]\\ name\t.cs'])
def test_an_edit_changes_the_edited_lines_only(place: Place, attributes: str, name: str) -> None:
    make(place, attributes)
    clone = place.clone()
    touch_everything(clone.root)
    path = clone.root / name
    path.write_bytes(path.read_bytes().replace(b"class", b"struct", 1))
    before = clone.snapshot()
    touch_everything(clone.root)
    assert clone.snapshot() == before
    publish(place, clone)
    assert place.git("diff", "--numstat", "-z", "main", "autoroute/r1") == f"1\t1\t{name}\0"
    # The next commit compares with the one before, in which the file is stored as it is.
    path.write_bytes(path.read_bytes().replace(b"}", b"};", 1))
    touch_everything(clone.root)
    publish(place, clone)
    assert place.git("diff", "--numstat", "-z", "main", "autoroute/r1") == f"2\t2\t{name}\0"


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_uncommitted_changes_are_what_the_user_changed(place: Place, attributes: str) -> None:
    make(place, attributes)
    touch_everything(place.root)
    assert place.repository().find_dirty_paths() == ()
    place.write("a.txt", "mine\n")
    place.write("untracked.txt", "mine\n")
    before = place.fingerprint()
    assert place.repository().find_dirty_paths() == ("a.txt", "untracked.txt")
    clone = place.clone(include_dirty=True)
    assert sorted([*clone.compare(clone.head_tree(), "HEAD").touched]) == []
    assert clone.snapshot() == clone.head_tree()
    publish(place, clone)
    objects = {name: text for name, text in place.fingerprint().items() if not name.startswith(".git/")}
    assert objects == {name: text for name, text in before.items() if not name.startswith(".git/")}
    (clone.root / "new.txt").write_text("new\n")
    publish(place, clone)
    assert changed(place, "main", "autoroute/r1") == ["a.txt", "new.txt", "untracked.txt"]


def test_an_uncommitted_edit_keeps_its_line_endings(place: Place) -> None:
    make(place, "*.cs text eol=crlf\n")
    path = place.root / "src/Old.cs"
    path.write_bytes(path.read_bytes().replace(b"class", b"struct", 1))
    assert place.repository().find_dirty_paths() == ("src/Old.cs",)
    clone = place.clone(include_dirty=True)
    (clone.root / "new.txt").write_text("new\n")
    publish(place, clone)
    assert place.git("diff", "--numstat", "main", "autoroute/r1").splitlines() == ["1\t0\tnew.txt", "1\t1\tsrc/Old.cs"]


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_files_are_restored_as_they_were(place: Place, attributes: str) -> None:
    contents = make(place, attributes)
    clone = place.clone()
    first = clone.snapshot()
    for name in FILES:
        path = clone.root / name
        path.write_bytes(path.read_bytes() + ("x\n".encode("utf-16-le") if "working" in attributes else b"x\n"))
    clone.restore(first)
    assert {name: (clone.root / name).read_bytes() for name in FILES} == contents
    assert clone.snapshot() == first == clone.head_tree()


def test_a_new_rule_of_a_model_rewrites_no_file_that_it_did_not_edit(place: Place) -> None:
    for name, data in FILES.items():
        place.write(name, data)
    place.commit("Before")
    clone = place.clone()
    (clone.root / ".gitattributes").write_text("*.cs text eol=lf\n")
    touch_everything(clone.root)
    publish(place, clone)
    assert changed(place, "main", "autoroute/r1") == [".gitattributes"]


def test_a_file_that_a_model_converts_is_its_change(place: Place) -> None:
    make(place, "*.cs text\n")
    clone = place.clone()
    (clone.root / "src/Old.cs").write_bytes(CRLF.replace(b"\r\n", b"\n"))
    publish(place, clone)
    assert changed(place, "main", "autoroute/r1") == ["src/Old.cs"]


def test_a_moved_file_is_the_same_file(place: Place) -> None:
    make(place, "*.cs text\n")
    clone = place.clone()
    (clone.root / "src/Old.cs").rename(clone.root / "src/New.cs")
    publish(place, clone)
    names = place.git("diff", "--name-status", "-M100%", "main", "autoroute/r1")
    assert names == "R100\tsrc/Old.cs\tsrc/New.cs"


def test_ordinary_files_are_still_converted(place: Place) -> None:
    place.write(".gitattributes", "*.cs text eol=crlf\n")
    place.write("a.cs", "one\ntwo\n")
    place.commit()
    clone = place.clone()
    assert (clone.root / "a.cs").read_bytes() == b"one\r\ntwo\r\n"
    (clone.root / "a.cs").write_bytes(b"one\r\nTWO\r\n")
    publish(place, clone)
    assert place.git("diff", "--numstat", "main", "autoroute/r1") == "1\t1\ta.cs"
    assert place.git("cat-file", "-s", "autoroute/r1:a.cs") == "8"


LINES = st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=8)


@given(LINES, LINES, st.data())
def test_mapped_lines_are_those_of_the_file_or_of_the_commit(
    old: list[bytes], new: list[bytes], data: st.DataObject
) -> None:
    ends = data.draw(st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=len(old), max_size=len(old)))
    stored = b"".join(line + end for line, end in zip(old, ends, strict=True))
    fresh = b"".join(line + b"\r\n" for line in old)
    assert _map_lines(stored, fresh, fresh) == stored
    now = b"".join(line + b"\r\n" for line in new)
    mapped = _map_lines(stored, fresh, now)
    assert mapped.replace(b"\r\n", b"\n") == now.replace(b"\r\n", b"\n")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from(ATTRIBUTES), st.binary(max_size=10))
def test_any_content_survives_any_rule(place: Place, content: bytes, attributes: str, more: bytes) -> None:
    place.write("x.cs", content)
    place.write(".gitattributes", "")
    place.commit("Before")
    place.write(".gitattributes", attributes)
    place.git("add", ".gitattributes")
    place.git("commit", "--quiet", "--allow-empty", "--message=Attributes")
    clone = place.clone(f"r{os.urandom(6).hex()}")
    touch_everything(clone.root)
    assert clone.snapshot() == clone.head_tree()
    (clone.root / "x.cs").write_bytes(content + more)
    tree = clone.snapshot()
    touch_everything(clone.root)
    assert clone.snapshot() == tree

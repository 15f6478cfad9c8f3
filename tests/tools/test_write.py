from __future__ import annotations

import hashlib

import pytest

from autoroute.events import Intent
from tests.tools.conftest import Harness


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_new_file_is_created_with_its_folders(harness: Harness) -> None:
    assert harness.text("write", path="a/b/c.txt", content="one\ntwo") == "created a/b/c.txt (2 lines)"
    assert (harness.root / "a/b/c.txt").read_bytes() == b"one\ntwo"


def test_a_file_is_replaced_by_exactly_the_given_content(harness: Harness) -> None:
    path = harness.put("a.txt", b"\xef\xbb\xbfold\n")
    assert harness.text("write", path="a.txt", content="né\rw\n") == "replaced a.txt (1 line)"
    assert path.read_bytes() == "né\rw\n".encode()
    assert harness.text("write", path="a.txt", content="né\rw\n") == "a.txt is unchanged (1 line)"


@pytest.mark.parametrize(
    ("before", "content", "after", "note"),
    [
        (b"a\r\nb\r\n", "a\nc\n", b"a\r\nc\r\n", "; kept its CRLF line endings"),
        (b"a\r\nb\r\n", "a\r\nc\n", b"a\r\nc\r\n", "; kept its CRLF line endings"),
        (b"a\r\nb\r\n", "a\r\nc\r\n", b"a\r\nc\r\n", ""),
        (b"a\nb\n", "a\r\nc\r\n", b"a\nc\n", "; kept its LF line endings"),
        (b"a\nb\n", "a\r\r\nc", b"a\nc", "; kept its LF line endings"),
        (b"a\nb\n", "a\nc\n", b"a\nc\n", ""),
        (b"a\r\nb\nc\nd\n", "a\nx\nb\nd\n", b"a\r\nx\r\nb\nd\n", "; kept its mixed line endings"),
        (b"a\r\nb\0\r\n", "a\nc\n", b"a\nc\n", ""),
        (b"a\r\n", "", b"", ""),
        (b"a", "a\r\n", b"a\r\n", "; with CRLF line endings, as sent"),
        (None, "a\r\nb\n", b"a\r\nb\n", "; with mixed line endings, as sent"),
    ],
)
def test_a_file_keeps_its_line_endings_whatever_is_sent(
    before: bytes | None, content: str, after: bytes, note: str, harness: Harness
) -> None:
    path = harness.root / "a.txt" if before is None else harness.put("a.txt", before)
    text = harness.text("write", path="a.txt", content=content)
    assert path.read_bytes() == after
    assert text.partition(";")[1:] == (note[:1], note[1:] + ")" * bool(note))


def test_nothing_is_written_before_the_intent_is_known(harness: Harness) -> None:
    path = harness.put("a.txt", "old\n")
    prepared = harness.prepare("write", {"path": "./a.txt", "content": "new\n"})
    assert prepared.intent == Intent(path="a.txt", before=sha256(b"old\n"), after=sha256(b"new\n"))
    assert path.read_bytes() == b"old\n"
    prepared.run()
    assert path.read_bytes() == b"new\n"


def test_the_intent_of_a_new_file_has_no_before(harness: Harness) -> None:
    prepared = harness.prepare("write", {"path": "a.txt", "content": ""})
    assert prepared.intent == Intent(path="a.txt", before="", after=sha256(b""))


def test_the_mode_of_a_file_is_kept(harness: Harness) -> None:
    path = harness.put("run.sh", "old\n")
    path.chmod(0o755)
    harness.text("write", path="run.sh", content="new\n")
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("path", ["../a", "/tmp/a", "link/a", ".git/hooks/pre-commit", "folder"])
def test_nothing_is_written_outside_the_workspace_or_over_a_folder(path: str, harness: Harness) -> None:
    outside = harness.root.parent / "outside"
    outside.mkdir()
    (harness.root / "link").symlink_to(outside)
    (harness.root / "folder").mkdir()
    prepared = harness.prepare("write", {"path": path, "content": "x"})
    assert prepared.intent is None
    assert prepared.run().is_error
    assert list(outside.iterdir()) == []

from __future__ import annotations

import os

import pytest

from tests.tools.conftest import Harness


def test_lines_are_numbered(harness: Harness) -> None:
    harness.put("a.txt", "one\n\n\tthree\n")
    assert harness.text("read", path="a.txt") == "     1\tone\n     2\t\n     3\t\tthree"


def test_a_part_says_how_to_continue(harness: Harness) -> None:
    harness.put("a.txt", "".join(f"line {number}\n" for number in range(1, 11)))
    assert harness.text("read", path="a.txt", offset=3, limit=2) == (
        "     3\tline 3\n     4\tline 4\n(lines 3-4 of 10; continue with offset=5)"
    )
    assert harness.text("read", path="a.txt", offset=10) == "    10\tline 10\n(lines 10-10 of 10)"


def test_a_long_file_is_shown_in_parts_of_two_thousand_lines(harness: Harness) -> None:
    harness.put("a.txt", "x\n" * 5310)
    lines = harness.text("read", path="a.txt").splitlines()
    assert len(lines) == 2001
    assert lines[-1] == "(lines 1-2000 of 5310; continue with offset=2001)"


def test_long_lines_are_cut_and_the_whole_result_is_bounded(harness: Harness) -> None:
    harness.put("a.txt", ("x" * 5_000 + "\n") * 200)
    text = harness.text("read", path="a.txt")
    assert text.startswith("     1\t" + "x" * 2_000 + "… (3,000 more characters)\n")
    assert text.endswith("\n(lines 1-49 of 200; continue with offset=50)")
    assert len(text) < 101_000


def test_an_offset_past_the_end_is_answered_with_the_number_of_lines(harness: Harness) -> None:
    harness.put("a.txt", "one\n")
    assert harness.error("read", path="a.txt", offset=2) == "offset 2 is past the end: a.txt has 1 line"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "(a.txt is empty)"),
        (b"caf\xc3\xa9\n", "     1\tcafé"),
        (b"\xef\xbb\xbfone\n", "     1\tone\n(starts with a byte order mark)"),
        (b"one\r\ntwo\r\n", "     1\tone\n     2\ttwo\n(CRLF line endings)"),
        (b"one\r\ntwo\n", "     1\tone\n     2\ttwo\n(1 of 2 line endings are CRLF)"),
        (b"one", "     1\tone\n(no newline at the end of the file)"),
        (b"caf\xe9\n", "     1\tcafé\n(Latin-1 text)"),
        ("one\nzwö\n".encode("utf-16"), "     1\tone\n     2\tzwö\n(UTF-16 text)"),
        ("\ufeffone\n".encode("utf-16-be"), "     1\tone\n(UTF-16 text)"),
        ("a\u2028b\x0cc\n".encode(), "     1\ta\u2028b\x0cc"),
    ],
)
def test_every_encoding_is_shown_as_text_with_notes_on_what_is_invisible(
    content: bytes, expected: str, harness: Harness
) -> None:
    harness.put("a.txt", content)
    assert harness.text("read", path="a.txt") == expected


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0", b"\xff\xfe\x00"])
def test_binary_data_is_reported_and_not_shown(content: bytes, harness: Harness) -> None:
    harness.put("logo.png", content)
    error = harness.error("read", path="logo.png")
    assert error.startswith("logo.png is ")
    assert f"({len(content)} bytes)" in error


def test_a_folder_is_listed(harness: Harness) -> None:
    for path in ("src/b.py", "src/a/x.py", ".git/config", "zero.txt"):
        harness.put(path, "x")
    assert harness.text("read", path=".") == ".:\nsrc/\nzero.txt"
    assert harness.text("read", path="src") == "src:\na/\nb.py"


def test_an_empty_folder_and_a_long_listing_are_reported(harness: Harness) -> None:
    (harness.root / "empty").mkdir()
    for number in range(510):
        harness.put(f"full/{number:03}", "")
    assert harness.text("read", path="empty") == "(empty is an empty folder)"
    assert harness.text("read", path="full").splitlines()[-2:] == ["499", "(10 more; use find)"]


def test_a_missing_file_is_answered_with_similar_paths(harness: Harness) -> None:
    harness.put("src/slug.py", "x\n")
    harness.put("tests/test_slug.py", "x\n")
    assert harness.error("read", path="slug.py") == "file not found: slug.py; did you mean src/slug.py?"
    assert harness.error("read", path="src/slugs.py") == "file not found: src/slugs.py; did you mean src/slug.py?"
    assert harness.error("read", path="nothing/like/it.rs") == "file not found: nothing/like/it.rs"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "link", ".git/config", "a\0b"])
def test_nothing_outside_the_workspace_is_read(path: str, harness: Harness) -> None:
    secret = harness.root.parent / "secret"
    secret.write_text("treasure")
    (harness.root / "link").symlink_to(secret)
    harness.put(".git/config", "treasure")
    harness.put("a/b", "x")
    assert "treasure" not in harness.error("read", path=path)


def test_reading_a_pipe_does_not_block(harness: Harness) -> None:
    os.mkfifo(harness.root / "pipe")
    assert harness.call("read", path="pipe").is_error


PICTURE = "iVBORw0KGgo" + "Ab3/+x" * 5_000 + "=="
NOTEBOOK = (
    '{\n "cells": [\n  {"source": ["plot(x)\\n"],\n   "image/png": "'
    + PICTURE
    + '\\n",\n   "text/plain": "<Figure>"}\n ]\n}\n'
)


@pytest.mark.parametrize("tool", ["read", "grep"])
def test_pictures_in_a_notebook_are_not_shown(harness: Harness, tool: str) -> None:
    harness.put("plots.ipynb", NOTEBOOK)
    arguments = {"path": "plots.ipynb"} if tool == "read" else {"pattern": "image/png|plot"}
    shown = harness.text(tool, **arguments)
    assert f'"image/png": "({len(PICTURE):,} characters of base64 that are not shown)' in shown
    assert "plot(x)" in shown
    assert "Ab3/+xAb3" not in shown


def test_a_notebook_is_edited_as_it_is(harness: Harness) -> None:
    harness.put("plots.ipynb", NOTEBOOK)
    harness.text("edit", path="plots.ipynb", old="plot(x)", new="plot(y)")
    assert (harness.root / "plots.ipynb").read_text() == NOTEBOOK.replace("plot(x)", "plot(y)")


def test_long_words_elsewhere_are_shown(harness: Harness) -> None:
    harness.put("data.json", f'{{"image/png": "{"A" * 300}"}}\n')
    assert "A" * 300 in harness.text("read", path="data.json")

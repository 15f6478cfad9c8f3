from __future__ import annotations

import os

import pytest

from tests.tools.conftest import Desk


def test_lines_carry_their_numbers(desk: Desk) -> None:
    desk.put("a.txt", "one\n\n\tthree\n")
    assert desk.text("read", path="a.txt") == "     1\tone\n     2\t\n     3\t\tthree"


def test_a_part_says_how_to_go_on(desk: Desk) -> None:
    desk.put("a.txt", "".join(f"line {number}\n" for number in range(1, 11)))
    assert desk.text("read", path="a.txt", offset=3, limit=2) == (
        "     3\tline 3\n     4\tline 4\n(lines 3-4 of 10; read on with offset=5)"
    )
    assert desk.text("read", path="a.txt", offset=10) == "    10\tline 10\n(lines 10-10 of 10)"


def test_a_long_file_comes_in_parts_of_two_thousand_lines(desk: Desk) -> None:
    desk.put("a.txt", "x\n" * 5310)
    lines = desk.text("read", path="a.txt").splitlines()
    assert len(lines) == 2001
    assert lines[-1] == "(lines 1-2000 of 5310; read on with offset=2001)"


def test_long_lines_are_cut_and_the_whole_answer_is_bounded(desk: Desk) -> None:
    desk.put("a.txt", ("x" * 5_000 + "\n") * 200)
    text = desk.text("read", path="a.txt")
    assert text.startswith("     1\t" + "x" * 2_000 + "… (3,000 more characters)\n")
    assert text.endswith("\n(lines 1-49 of 200; read on with offset=50)")
    assert len(text) < 101_000


def test_an_offset_past_the_end_is_told_the_end(desk: Desk) -> None:
    desk.put("a.txt", "one\n")
    assert desk.refusal("read", path="a.txt", offset=2) == "offset 2 is past the end: a.txt has 1 line"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "(a.txt is empty)"),
        (b"caf\xc3\xa9\n", "     1\tcafé"),
        (b"\xef\xbb\xbfone\n", "     1\tone\n(begins with a byte order mark)"),
        (b"one\r\ntwo\r\n", "     1\tone\n     2\ttwo\n(lines end with CR LF)"),
        (b"one\r\ntwo\n", "     1\tone\n     2\ttwo\n(1 of 2 line ends are CR LF)"),
        (b"one", "     1\tone\n(no line end at the end of the file)"),
        (b"caf\xe9\n", "     1\tcafé\n(Latin-1 text)"),
        ("one\nzwö\n".encode("utf-16"), "     1\tone\n     2\tzwö\n(UTF-16 text)"),
        ("\ufeffone\n".encode("utf-16-be"), "     1\tone\n(UTF-16 text)"),
        ("a\u2028b\x0cc\n".encode(), "     1\ta\u2028b\x0cc"),
    ],
)
def test_every_encoding_is_shown_as_text_with_a_word_on_what_cannot_be_seen(
    content: bytes, expected: str, desk: Desk
) -> None:
    desk.put("a.txt", content)
    assert desk.text("read", path="a.txt") == expected


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0\0", b"\xff\xfe\x00"])
def test_binary_data_is_named_and_never_shown(content: bytes, desk: Desk) -> None:
    desk.put("logo.png", content)
    refusal = desk.refusal("read", path="logo.png")
    assert refusal.startswith("logo.png is ")
    assert f"({len(content)} bytes)" in refusal


def test_a_folder_is_listed(desk: Desk) -> None:
    for path in ("src/b.py", "src/a/x.py", ".git/config", "zero.txt"):
        desk.put(path, "x")
    assert desk.text("read", path=".") == ".:\nsrc/\nzero.txt"
    assert desk.text("read", path="src") == "src:\na/\nb.py"


def test_an_empty_folder_and_a_crowded_one_are_said(desk: Desk) -> None:
    (desk.root / "empty").mkdir()
    for number in range(510):
        desk.put(f"full/{number:03}", "")
    assert desk.text("read", path="empty") == "(empty is an empty folder)"
    assert desk.text("read", path="full").splitlines()[-2:] == ["499", "(10 more; use find)"]


def test_a_missing_file_is_answered_with_the_nearest_names(desk: Desk) -> None:
    desk.put("src/slug.py", "x\n")
    desk.put("tests/test_slug.py", "x\n")
    assert desk.refusal("read", path="slug.py") == "there is no file slug.py; did you mean src/slug.py?"
    assert desk.refusal("read", path="src/slugs.py") == "there is no file src/slugs.py; did you mean src/slug.py?"
    assert desk.refusal("read", path="nothing/like/it.rs") == "there is no file nothing/like/it.rs"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "link", ".git/config", "a\0b"])
def test_nothing_outside_the_workspace_is_read(path: str, desk: Desk) -> None:
    secret = desk.root.parent / "secret"
    secret.write_text("treasure")
    (desk.root / "link").symlink_to(secret)
    desk.put(".git/config", "treasure")
    desk.put("a/b", "x")
    assert "treasure" not in desk.refusal("read", path=path)


def test_what_is_no_regular_file_does_not_block(desk: Desk) -> None:
    os.mkfifo(desk.root / "pipe")
    assert desk.call("read", path="pipe").is_error

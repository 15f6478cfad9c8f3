from __future__ import annotations

import hashlib
import os
import re
import time

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autoroute.events import Intent
from autoroute.tools.edit_match import Span, _find_shift, _indent, _make_span, _split_lines, find_tolerant
from autoroute.tools.text_file import LINE, decode_file
from autoroute.tools.tool import ToolError
from tests.tools.conftest import Harness

PYTHON = "def a():\n    return 1\n\n\ndef b():\n    return 2\n"


def test_a_passage_is_replaced_and_shown_with_the_lines_around_it(harness: Harness) -> None:
    path = harness.put("a.py", PYTHON)
    assert harness.text("edit", path="a.py", old="return 2", new="return 3\n    # end") == (
        "edited a.py:\n     3\t\n     4\t\n     5\tdef b():\n     6\t    return 3\n     7\t    # end"
    )
    assert path.read_text() == PYTHON.replace("return 2", "return 3\n    # end")


def test_the_intent_is_known_before_the_file_changes(harness: Harness) -> None:
    path = harness.put("a.py", PYTHON)
    prepared = harness.prepare("edit", {"path": "a.py", "old": "return 2", "new": "return 3"})
    after = PYTHON.replace("return 2", "return 3")
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in (PYTHON, after)]
    assert prepared.intent == Intent(path="a.py", before=digests[0], after=digests[1])
    assert path.read_text() == PYTHON


def test_deleting_the_whole_text_leaves_an_empty_file(harness: Harness) -> None:
    path = harness.put("a.py", "x\n")
    assert harness.text("edit", path="a.py", old="x\n", new="") == "edited a.py:\n(the file is empty)"
    assert path.read_bytes() == b""


def test_several_occurrences_are_listed_and_replaced_on_request(harness: Harness) -> None:
    path = harness.put("a.py", PYTHON)
    assert harness.error("edit", path="a.py", old="return", new="yield") == (
        "`old` occurs 2 times in a.py, at lines 2, 6; add lines around it to make it unique, or set replace_all"
    )
    assert path.read_text() == PYTHON
    text = harness.text("edit", path="a.py", old="return", new="yield", replace_all=True)
    assert text.startswith("edited a.py in 2 places:\n")
    assert path.read_text() == PYTHON.replace("return", "yield")


def test_a_missing_passage_is_answered_with_the_most_similar_one(harness: Harness) -> None:
    harness.put("a.py", PYTHON)
    assert harness.error("edit", path="a.py", old="def b(x):\n    return 7", new="x") == (
        "`old` was not found in a.py. The most similar passage is:\n     5\tdef b():\n     6\t    return 2"
    )
    assert harness.error("edit", path="a.py", old="class Zebra:\n    stripes", new="x") == (
        "`old` was not found in a.py; re-read the file"
    )


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("x", "x", "new: is the same as old, so the edit changes nothing"),
        ("", "x", "old: is empty; give the text to replace, or use write for a whole file"),
    ],
)
def test_an_edit_without_effect_is_refused(old: str, new: str, error: str, harness: Harness) -> None:
    harness.put("a.py", PYTHON)
    assert harness.error("edit", path="a.py", old=old, new=new) == error


def test_binary_and_missing_files_are_refused(harness: Harness) -> None:
    harness.put("logo.png", b"\x89PNG\0")
    harness.put("src/a.py", "x")
    assert harness.error("edit", path="logo.png", old="PNG", new="x") == "logo.png is binary (5 bytes), not text"
    assert harness.error("edit", path="a.py", old="x", new="y") == "file not found: a.py; did you mean src/a.py?"


def test_a_hard_linked_file_is_refused_with_what_to_do_instead(harness: Harness) -> None:
    outside = harness.root.parent / "outside.txt"
    outside.write_text("secret")
    os.link(outside, harness.root / "a.txt")
    for error in (harness.error("edit", path="a.txt", old="secret", new="x"), harness.error("read", path="a.txt")):
        assert error == (
            "a.txt has 2 names (hard links), some perhaps outside the project; "
            "use bash to read it, or to replace it with a copy"
        )
    assert outside.read_text() == "secret"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        # trailing white space, in the file and in old
        ("if a:  \n    b()\n", "if a:\n    b()\n", "if c:\n    d()\n", "if c:\n    d()\n"),
        ("if a:\n    b()\nx\n", "if a: \n    b()\t", "c()", "c()\nx\n"),
        ("a \n\nb\n", "a\n  ", "x", "x\nb\n"),
        # one indentation throughout, too little and too much
        (
            "class A:\n    def f():\n        return 1\n",
            "def f():\n    return 1",
            "def f():\n\n    return 2",
            "class A:\n    def f():\n\n        return 2\n",
        ),
        (
            "def f():\n\treturn 1\n",
            "    def f():\n    \treturn 1\n",
            "    def f():\n    \treturn 2\n",
            "def f():\n\treturn 2\n",
        ),
        # line ends
        ("a\r\nb\r\nc\r\n", "a\nb", "x\ny", "x\r\ny\r\nc\r\n"),
        ("a\r\nb\r\nc\r\n", "b", "x\ny", "a\r\nx\r\ny\r\nc\r\n"),
        ("a\r\nb\r\nc\r\n", "a\r\nb", "x\r\ny", "x\r\ny\r\nc\r\n"),
        ("a\r\nb\nc\nd\n", "a\nb", "x", "x\nc\nd\n"),
        ("a\nb\nc\n", "a\r\nb", "x\r\ny", "x\ny\nc\n"),
        ("a\nb\nc\n", "b", "x\r\ny", "a\nx\ny\nc\n"),
        ("a\nb\nc\n", "b", "x\r", "a\nx\nc\n"),
        ("a\r\nb\nc\n", "a", "x\r\ny", "x\r\ny\r\nb\nc\n"),
        ("a\r\nb\nc\n", "b", "x\r\ny", "a\r\nx\ny\nc\n"),
        ("a\r\nb\nc\r\n", "a\nb\nc\n", "a\nB\nc\nd\n", "a\r\nB\r\nc\r\nd\r\n"),
        ("a\r\nb\nc\r\n", "a\nb\nc\n", "a\nb\nd\n", "a\r\nb\nd\n"),
        ("a\r\nb\r\n", "\nb", "\nx\nb", "a\r\nx\r\nb\r\n"),
        ("a\r\nb\r\n", "\nb", " b", "a b\r\n"),
        ("a\r\nb\r\n", "a\r", "x", "x\r\nb\r\n"),
        ("  a\r\n  b\r\n", "a\nb\n", "x\ny\n", "  x\r\n  y\r\n"),
        # no newline at the end of the file
        ("a\n  b", "a \n  b\n", "x\ny\n", "x\ny"),
        ("a\r\n  b", "a \n  b\n", "x\ny\n", "x\r\ny"),
    ],
)
def test_white_space_may_differ_if_the_match_is_unambiguous(
    before: str, old: str, new: str, after: str, harness: Harness
) -> None:
    path = harness.put("a.py", before)
    harness.text("edit", path="a.py", old=old, new=new)
    assert path.read_bytes().decode() == after


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [
        ("    a\n    b\n\n        a\n        b\n", "  a\n  b\n", "c\n"),  # two places
        ("  a\n    b\n", "a\nb\n", "c\n"),  # not one indentation
        ("\ta\n\tb\n", "    a\n    b\n", "c\n"),  # tabs are not spaces
        ("a\nb\n", "  a\n  b\n", "c\n"),  # new is not indented that far
        ("a  b\n", "a b\n", "c\n"),  # inside a line
        ("\n\n\n", "  \n", "c\n"),  # nothing but white space
    ],
)
def test_white_space_may_not_differ_if_the_match_is_ambiguous(
    before: str, old: str, new: str, harness: Harness
) -> None:
    path = harness.put("a.py", before)
    harness.error("edit", path="a.py", old=old, new=new)
    assert path.read_text() == before


@pytest.mark.parametrize(("before", "old", "new"), [("a\r\nb\r\n", "\r\n", "\n"), ("a\nb\n", "a\n", "a\r\n")])
def test_an_edit_of_line_endings_alone_is_refused(before: str, old: str, new: str, harness: Harness) -> None:
    path = harness.put("a.py", before)
    error = harness.error("edit", path="a.py", old=old, new=new, replace_all=True)
    assert error == "the edit changes nothing: each line of a.py keeps its ending; to change those, use bash"
    assert path.read_bytes().decode() == before


TEXTS = st.lists(st.sampled_from(["a", "b", "", "\r", "\n", "\r\n", "é"]), max_size=9).map("".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.sampled_from(["a", "bb", "ab", ""]), min_size=1, max_size=6), data=st.data())
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file_of_one_kind_of_line_ending_stays_so(
    ending: str, lines: list[str], data: st.DataObject, harness: Harness
) -> None:
    text = ending.join([*lines, ""])
    path = harness.put("a.txt", text)
    start = data.draw(st.integers(0, len(text) - 1))
    old = text[start : data.draw(st.integers(start + 1, len(text)))]
    old = old.replace("\r\n", "\n") if data.draw(st.booleans()) else old
    new = data.draw(TEXTS)
    harness.call("edit", path="a.txt", old=old, new=new, replace_all=data.draw(st.booleans()))
    assert set(re.findall(r"\r*\n", path.read_bytes().decode())) <= {ending}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "utf-8"])
def test_text_as_read_shows_it_can_be_edited_in_every_encoding(encoding: str, harness: Harness) -> None:
    path = harness.put("a.txt", "naïve\r\ncafé\r\n".encode(encoding))
    harness.text("edit", path="a.txt", old="naïve\ncafé", new="naïf\nthé")
    assert path.read_bytes() == "naïf\r\nthé\r\n".encode(encoding)


def test_a_character_outside_the_encoding_is_refused(harness: Harness) -> None:
    path = harness.put("a.txt", b"caf\xe9\n")
    error = harness.error("edit", path="a.txt", old="café", new="→")
    assert error.startswith("the file is Latin-1, which cannot encode '→'")
    assert path.read_bytes() == b"caf\xe9\n"


def test_the_mode_of_a_file_is_kept(harness: Harness) -> None:
    path = harness.put("run.sh", "old\n")
    path.chmod(0o755)
    harness.text("edit", path="run.sh", old="old", new="new")
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_missing_passage_in_a_big_file_is_answered_in_bounded_time(harness: Harness) -> None:
    harness.put("big.txt", "".join(f"the quick brown fox {number} jumps\n" for number in range(100_000)))
    started = time.process_time()
    harness.error("edit", path="big.txt", old="the quick brown fox jumped\n" * 500, new="x")
    assert time.process_time() - started < 5


def test_a_repetitive_file_is_compared_in_bounded_time(harness: Harness) -> None:
    harness.put("same.txt", "same\n" * 50_000)
    started = time.process_time()
    harness.error("edit", path="same.txt", old=" same\n" * 1_000 + "other\n", new="x")
    assert time.process_time() - started < 5


def test_an_edit_that_would_exceed_the_size_limit_is_refused(harness: Harness) -> None:
    path = harness.put("a.txt", "a" * 10_000)
    assert "too many to be read again" in harness.error(
        "edit", path="a.txt", old="a", new="b" * 2_000, replace_all=True
    )
    assert path.stat().st_size == 10_000


LINES = st.sampled_from([b"", b"a", b"  a", b"\ta ", b"caf\xc3\xa9", b"caf\xe9", b"\x0c", b"a\rb", "\u2028".encode()])
ENDS = st.sampled_from([b"\n", b"\r\n"])
BODIES = st.lists(st.tuples(LINES, ENDS), max_size=6).map(lambda pairs: b"".join(line + end for line, end in pairs))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    before=BODIES,
    after=BODIES,
    tail=LINES,
    tolerant=st.booleans(),
    new=st.text("ab é\n", max_size=8),
)
def test_every_byte_outside_the_passage_is_kept(
    mark: bytes, before: bytes, after: bytes, tail: bytes, tolerant: bool, new: str, harness: Harness
) -> None:
    assume(new != "MARK")
    head, rest = mark + before, after + tail
    path = harness.put("a.txt", head + b"MARK  \r\n" + rest)
    old = "MARK\n" if tolerant else "MARK"
    outcome = harness.call("edit", path="a.txt", old=old, new=new)
    assert not outcome.is_error, outcome.text
    written = path.read_bytes()
    assert written.startswith(head)
    assert written.endswith(rest if tolerant else b"  \r\n" + rest)
    middle = written[len(head) : len(written) - len(rest)]
    decoded = middle.decode("latin-1" if b"\xe9" in (head + rest).replace(b"\xc3\xa9", b"") else "utf-8")
    assert decoded.replace("\r\n", "\n") == (new if tolerant else new + "  \n")


@given(data=st.one_of(st.binary(max_size=60), st.text(max_size=30).map(lambda text: text.encode("utf-16"))))
def test_unchanged_text_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        document = decode_file(data, "a.txt")
    except ToolError:
        assert b"\0" in data or data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return
    assert document.encode(document.text) == data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mark=st.sampled_from([("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]),
    before=st.text("ab é\n\r\u2028\U0001f600", max_size=12),
    after=st.text("ab é\n\r\u2028\U0001f600", max_size=12),
    mode=st.sampled_from([0o600, 0o644, 0o755]),
)
def test_every_byte_outside_the_passage_is_kept_in_utf_16(
    mark: tuple[str, bytes], before: str, after: str, mode: int, harness: Harness
) -> None:
    encoding, bom = mark
    path = harness.put("a.txt", bom + f"{before}MARK{after}".encode(encoding))
    path.chmod(mode)
    harness.text("edit", path="a.txt", old="MARK", new="née")
    assert path.read_bytes() == bom + f"{before}née{after}".encode(encoding)
    assert path.stat().st_mode & 0o777 == mode


def plainly(text: str, old: str, new: str) -> list[Span]:
    """What ``find_tolerant`` gives, by its definition, line by line."""
    wanted = [line.rstrip() for line in _split_lines(old)]
    spans = [match.span() for match in LINE.finditer(text)]
    lines = [text[start:end].rstrip() for start, end in spans]
    places = []
    for first in range(len(lines) - len(wanted) + 1) if any(wanted) else ():
        found, last = lines[first : first + len(wanted)], first + len(wanted) - 1
        if [line.lstrip() for line in found] == [line.lstrip() for line in wanted]:
            shift = _find_shift(found, wanted)
            moved = None if shift is None else _indent(new, *shift)
            if moved is not None:
                places.append(_make_span(text, spans[first][0], spans[last][1], old, moved))
    return places


SMALL = st.lists(st.sampled_from(["a", "b", " a", "  a", "\ta", " b", "", " ", "a\r", "a \x0b"]), max_size=9)


@settings(max_examples=100)
@given(SMALL, SMALL, st.sampled_from(["x", "  x\ny", ""]), st.booleans(), st.booleans())
def test_tolerant_matches_equal_those_of_the_definition(
    text: list[str], old: list[str], new: str, one: bool, two: bool
) -> None:
    whole, sought = "\n".join(text) + "\n" * one, "\n".join(old) + "\n" * two
    assert find_tolerant(whole, sought, new) == plainly(whole, sought, new)


@pytest.mark.parametrize("last", ["b", "a"])
@pytest.mark.parametrize("indent", ["", " "])
def test_very_many_tolerant_matches_are_not_all_compared(harness: Harness, last: str, indent: str) -> None:
    harness.put("a.txt", f"{indent}a\n\ta\n" * 40_000)
    message = harness.error("edit", path="a.txt", old="  a\n" * 20_000 + f"  {last}\n", new="x")
    assert "`old` was not found in a.txt" in message


def test_many_tolerant_matches_are_not_all_counted(harness: Harness) -> None:
    harness.put("a.txt", "  a\n" * 100)
    message = harness.error("edit", path="a.txt", old="a \n", new="x")
    assert "at least 21 times, at lines 1, 2," in message

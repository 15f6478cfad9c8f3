"""Line endings that stay as a file has them, whatever a model sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import takewhile

from autoroute.patterns import pattern
from autoroute.tools.text_file import LINE

_SENT_ENDING = pattern(r"\r*\n")
"""A line ending as models send it: some escape it twice."""
_MAX_COMPARED_LINES = 5_000
"""Between the first and the last changed line. Beyond, lines that were moved among mixed ones get the usual ending."""


def keep_line_endings(before: str, after: str, default: str) -> str:
    """Return ``after`` with the line endings that ``before`` has, and ``default`` if it has none.

    In a text with both kinds, each unchanged line keeps its own, and a new line gets that of the line before it.
    """
    after = _SENT_ENDING.sub("\n", after)
    old = LINE.findall(before)
    endings = {_ending(line) for line in old} - {""}
    if len(endings) < 2:
        return after.replace("\n", endings.pop()) if endings else after.replace("\n", default)
    return "".join(_align(old, LINE.findall(after)))


def widen_to_line_endings(text: str, start: int, end: int, new: str) -> tuple[int, int, str]:
    """Return a passage and its replacement so that neither end of it is between the two characters of a CRLF."""
    if text[start : start + 1] == "\n" and text[start - 1 : start] == "\r":
        start -= 1
    if start < end and text[end - 1] == "\r" and text[end : end + 1] == "\n":
        end -= 1
    # The start of a CRLF that the model cut in two. With a line feed after it, it would be one again.
    return start, end, new.rstrip("\r")


def find_line_ending(text: str, position: int, default: str) -> str:
    """Return the ending of the line around a position; ``default`` for a last line without one."""
    end = text.find("\n", position)
    return default if end < 0 else "\r\n" if text[end - 1 : end] == "\r" else "\n"


def name_line_endings(text: str) -> str:
    """Return what the line endings of a text are called: CRLF, LF or mixed; "" without any."""
    crlf, line_feeds = text.count("\r\n"), text.count("\n")
    return "" if not line_feeds else "LF" if not crlf else "CRLF" if crlf == line_feeds else "mixed"


def _align(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield the new lines, each with the ending of the old line that it equals, else with that of the line before."""
    contents = [_content(line) for line in old], [_content(line) for line in new]
    top = _count_equal(*contents)
    bottom = _count_equal(contents[0][top:][::-1], contents[1][top:][::-1])
    endings: list[str | None] = [None] * len(new)
    pairs = [(number, number) for number in range(top)]
    pairs += [(len(old) - number, len(new) - number) for number in range(1, bottom + 1)]
    middle = contents[0][top : len(old) - bottom], contents[1][top : len(new) - bottom]
    if max(map(len, middle)) <= _MAX_COMPARED_LINES:
        for block in SequenceMatcher(None, *middle).get_matching_blocks():
            pairs += [(top + block.a + number, top + block.b + number) for number in range(block.size)]
    for one, other in pairs:
        endings[other] = _ending(old[one]) or None
    last = _ending(old[0])
    for line, ending in zip(new, endings, strict=True):
        last = ending or last
        yield _content(line) + last if line.endswith("\n") else line


def _count_equal(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items are equal from the start on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _ending(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else line[-1:] if line.endswith("\n") else ""


def _content(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line

"""Where an edit applies: the exact text, else the one passage that differs in white space only.

Pure functions over text. Positions are offsets into the text as it stands, line numbers count from 1.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from autoroute.tools.text_file import LINE

_WORDS = re.compile(r"\w+")
_COMPARED_LINES = 50_000
_COMPARED_CHARACTERS = 2_000
_COMPARED_PASSAGES = 12
_NEAR = 0.5
_TRIED_LINES = 500_000
"""Lines of passages that are compared by their indentation, all together."""
MANY = 21
"""Places that differ in white space: so many are not told from more."""


@dataclass(frozen=True, slots=True)
class Span:
    """A passage ``text[start:end]`` and what goes there."""

    start: int
    end: int
    replacement: str


def find_exact(text: str, old: str, new: str) -> list[Span]:
    """Every place where ``old`` stands as it is; places do not overlap."""
    places = []
    start = text.find(old)
    while start >= 0:
        places.append(Span(start, start + len(old), new))
        start = text.find(old, start + len(old))
    return places


def find_tolerant(text: str, old: str, new: str) -> list[Span]:
    """Every run of whole lines that differs from ``old`` only at line ends or by one indentation throughout.

    The replacement is ``new`` with that indentation; a passage where ``new`` cannot take it is no place. The cost is
    bounded: of very many places only the first are given, and none where it would take too long to tell.
    """
    wanted = [line.rstrip() for line in _lines(old)]
    if not any(wanted):
        return []
    spans = [match.span() for match in LINE.finditer(text)]
    lines = [text[start:end].rstrip() for start, end in spans]
    places: list[Span] = []
    for number, first in enumerate(_runs(lines, wanted), start=1):
        if number * (len(wanted) + new.count("\n")) > _TRIED_LINES and number > 1:
            return places if len(places) > 1 else []
        last = first + len(wanted) - 1
        shift = _shift(lines[first : last + 1], wanted)
        replacement = None if shift is None else _shifted(new, *shift)
        if replacement is not None:
            places.append(_place(text, spans[first][0], spans[last][1], old, replacement))
        if len(places) == MANY:
            break
    return places


def _runs(lines: Sequence[str], wanted: Sequence[str]) -> Iterator[int]:
    """Where lines begin that are the wanted ones but for their indentation."""
    words = [line.strip() for line in lines]
    starts = list(accumulate((len(word) + 1 for word in words), initial=0))
    text, sought = "\n".join(["", *words, ""]), "\n".join(["", *map(str.strip, wanted), ""])
    start = text.find(sought)
    while start >= 0:
        yield bisect_left(starts, start)
        start = text.find(sought, start + 1)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if len(lines) > 1 and not lines[-1] else lines


def _place(text: str, start: int, end: int, old: str, replacement: str) -> Span:
    """The last line's end belongs to the passage only if ``old`` had one, and only where there is one."""
    passage = text[start:end]
    ended = passage.endswith("\n")
    if not old.endswith("\n"):
        kept = passage[:-1].removesuffix("\r") if ended else passage
        return Span(start, start + len(kept), replacement)
    if not ended and replacement.endswith("\n"):
        replacement = replacement[:-1].removesuffix("\r")
    return Span(start, end, replacement)


def _shift(found: list[str], wanted: list[str]) -> tuple[str, str] | None:
    """Indentation to (add, remove) so that ``wanted`` becomes ``found``; None when no single one does it."""
    shift: tuple[str, str] | None = None
    for here, there in zip(found, wanted, strict=True):
        if not here:
            continue
        ours, theirs = here[: len(here) - len(here.lstrip())], there[: len(there) - len(there.lstrip())]
        if ours.endswith(theirs):
            needed = (ours.removesuffix(theirs), "")
        elif theirs.endswith(ours):
            needed = ("", theirs.removesuffix(ours))
        else:
            return None
        if shift not in (None, needed):
            return None
        shift = needed
    return shift


def _shifted(new: str, add: str, remove: str) -> str | None:
    """``new`` with its lines moved; None when one of them is not indented that far. Blank lines stay blank."""
    moved = []
    for line in new.split("\n"):
        if line.strip() and not line.startswith(remove):
            return None
        moved.append(add + line[len(remove) :] if line.strip() else line)
    return "\n".join(moved)


def line_of(text: str, position: int) -> int:
    """Number of the line that a position is in."""
    return text.count("\n", 0, position) + 1


def nearest_passage(text: str, old: str) -> tuple[int, list[str]] | None:
    """First line number and lines of the passage most like ``old``, None when nothing is.

    The cost is bounded: words pick the candidates, and only a few of those are compared in full.
    """
    wanted = [line.strip() for line in _lines(old)]
    anchor = max(range(len(wanted)), key=lambda number: len(wanted[number]))
    words = set(_WORDS.findall(wanted[anchor]))
    lines = [line.rstrip("\r\n") for line in LINE.findall(text)[:_COMPARED_LINES]]
    if not words or not lines:
        return None
    scored = sorted(((_likeness(words, line), -number) for number, line in enumerate(lines)), reverse=True)
    target = "\n".join(wanted)[:_COMPARED_CHARACTERS]
    nearest, ratio = 0, 0.0
    for score, negative in scored[:_COMPARED_PASSAGES]:
        first = max(0, -negative - anchor)
        passage = "\n".join(line.strip() for line in lines[first : first + len(wanted)])[:_COMPARED_CHARACTERS]
        likeness = difflib.SequenceMatcher(None, passage, target).ratio() if score else 0.0
        if likeness > ratio:
            nearest, ratio = first, likeness
    return (nearest + 1, lines[nearest : nearest + len(wanted)]) if ratio >= _NEAR else None


def _likeness(words: set[str], line: str) -> float:
    found = set(_WORDS.findall(line[:_COMPARED_CHARACTERS]))
    return 2 * len(words & found) / (len(words) + len(found)) if found else 0.0

"""Where an edit applies in a text: at the exact text, or at the one passage that differs only in white space.

Pure functions. Positions are offsets into the text; line numbers count from 1.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from autoroute.patterns import pattern
from autoroute.tools.text_file import LINE

_WORDS = pattern(r"\w+")
_MAX_COMPARED_LINES = 50_000
_MAX_COMPARED_CHARACTERS = 2_000
_MAX_COMPARED_PASSAGES = 12
_MIN_SIMILARITY = 0.5
_MAX_INDENTATION_LINES = 500_000
"""Lines whose indentation is compared, over all passages: a repetitive file must not take quadratic time."""
MAX_TOLERANT_SPANS = 21
"""``find_tolerant`` stops after this many spans: the model is told of 20 and that more exist."""


@dataclass(frozen=True, slots=True)
class Span:
    """A passage ``text[start:end]`` and its replacement."""

    start: int
    end: int
    replacement: str


def find_exact(text: str, old: str, new: str) -> list[Span]:
    """Return every occurrence of ``old``, to be replaced by ``new``; the spans do not overlap."""
    spans = []
    start = text.find(old)
    while start >= 0:
        spans.append(Span(start, start + len(old), new))
        start = text.find(old, start + len(old))
    return spans


def find_tolerant(text: str, old: str, new: str) -> list[Span]:
    """Return each run of whole lines that differs from ``old`` only in line endings or by one common indentation.

    The replacement is ``new`` with that indentation; passages where ``new`` cannot have it are left out. The cost is
    bounded: at most ``MAX_TOLERANT_SPANS`` are returned, and none if it would take too long to tell how many match.
    """
    wanted = [line.rstrip() for line in _split_lines(old)]
    if not any(wanted):
        return []
    bounds = [match.span() for match in LINE.finditer(text)]
    lines = [text[start:end].rstrip() for start, end in bounds]
    spans: list[Span] = []
    for number, first in enumerate(_find_unindented(lines, wanted), start=1):
        if number * (len(wanted) + new.count("\n")) > _MAX_INDENTATION_LINES and number > 1:
            return spans if len(spans) > 1 else []
        last = first + len(wanted) - 1
        shift = _find_shift(lines[first : last + 1], wanted)
        replacement = None if shift is None else _indent(new, *shift)
        if replacement is not None:
            spans.append(_make_span(text, bounds[first][0], bounds[last][1], old, replacement))
        if len(spans) == MAX_TOLERANT_SPANS:
            break
    return spans


def _find_unindented(lines: Sequence[str], wanted: Sequence[str]) -> Iterator[int]:
    """Yield the index of each line where the wanted lines begin, whatever their indentation."""
    stripped = [line.strip() for line in lines]
    starts = list(accumulate((len(line) + 1 for line in stripped), initial=0))
    text, sought = "\n".join(["", *stripped, ""]), "\n".join(["", *map(str.strip, wanted), ""])
    start = text.find(sought)
    while start >= 0:
        yield bisect_left(starts, start)
        start = text.find(sought, start + 1)


def _split_lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if len(lines) > 1 and not lines[-1] else lines


def _make_span(text: str, start: int, end: int, old: str, replacement: str) -> Span:
    """Return the span of whole lines. Its last line ending is replaced only if ``old`` has one and the file has one."""
    passage = text[start:end]
    has_line_ending = passage.endswith("\n")
    if not old.endswith("\n"):
        kept = passage[:-1].removesuffix("\r") if has_line_ending else passage
        return Span(start, start + len(kept), replacement)
    if not has_line_ending and replacement.endswith("\n"):
        replacement = replacement[:-1].removesuffix("\r")
    return Span(start, end, replacement)


def _find_shift(found: list[str], wanted: list[str]) -> tuple[str, str] | None:
    """Return the indentation to (add, remove) that turns ``wanted`` into ``found``; None if no single one does."""
    shift: tuple[str, str] | None = None
    for found_line, wanted_line in zip(found, wanted, strict=True):
        if not found_line:
            continue
        found_indent = found_line[: len(found_line) - len(found_line.lstrip())]
        wanted_indent = wanted_line[: len(wanted_line) - len(wanted_line.lstrip())]
        if found_indent.endswith(wanted_indent):
            needed = (found_indent.removesuffix(wanted_indent), "")
        elif wanted_indent.endswith(found_indent):
            needed = ("", wanted_indent.removesuffix(found_indent))
        else:
            return None
        if shift not in (None, needed):
            return None
        shift = needed
    return shift


def _indent(new: str, add: str, remove: str) -> str | None:
    """Return ``new`` with its lines shifted; None if a line has less indentation to remove. Blank lines stay blank."""
    shifted = []
    for line in new.split("\n"):
        if line.strip() and not line.startswith(remove):
            return None
        shifted.append(add + line[len(remove) :] if line.strip() else line)
    return "\n".join(shifted)


def line_number(text: str, position: int) -> int:
    """Return the number of the line that contains a position."""
    return text.count("\n", 0, position) + 1


def find_nearest_passage(text: str, old: str) -> tuple[int, list[str]] | None:
    """Return the first line number and the lines of the passage most similar to ``old``; None if none is similar.

    The cost is bounded: shared words select the candidates, and only a few of those are compared in full.
    """
    wanted = [line.strip() for line in _split_lines(old)]
    anchor = max(range(len(wanted)), key=lambda number: len(wanted[number]))
    words = set(_WORDS.findall(wanted[anchor]))
    lines = [line.rstrip("\r\n") for line in LINE.findall(text)[:_MAX_COMPARED_LINES]]
    if not words or not lines:
        return None
    scored = sorted(((_shared_words(words, line), -number) for number, line in enumerate(lines)), reverse=True)
    target = "\n".join(wanted)[:_MAX_COMPARED_CHARACTERS]
    nearest, best_ratio = 0, 0.0
    for score, negative_number in scored[:_MAX_COMPARED_PASSAGES]:
        first = max(0, -negative_number - anchor)
        passage = "\n".join(line.strip() for line in lines[first : first + len(wanted)])[:_MAX_COMPARED_CHARACTERS]
        ratio = difflib.SequenceMatcher(None, passage, target).ratio() if score else 0.0
        if ratio > best_ratio:
            nearest, best_ratio = first, ratio
    return (nearest + 1, lines[nearest : nearest + len(wanted)]) if best_ratio >= _MIN_SIMILARITY else None


def _shared_words(words: set[str], line: str) -> float:
    """Return the share of words that a line has in common with ``words``, from 0 to 1 (the Dice coefficient)."""
    found = set(_WORDS.findall(line[:_MAX_COMPARED_CHARACTERS]))
    return 2 * len(words & found) / (len(words) + len(found)) if found else 0.0

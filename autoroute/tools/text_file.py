"""Files as text that encodes back to the same bytes: encodings, line endings, and how lines are shown to models."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from autoroute.patterns import pattern
from autoroute.redaction import Redact
from autoroute.tools.tool import ToolError

UTF16_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_ENCODING_TITLES = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "latin-1": "Latin-1"}
_MAX_LINE_CHARACTERS = 2_000
_BASE64 = pattern(r"(?:[A-Za-z0-9+/]|\\n){200,}={0,2}")

LINE = pattern(r"[^\n]*\n|[^\n]+")
"""A line with its ending. Only a line feed ends a line: form feeds, U+2028 and others are part of the text."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """The text of a file, with its line endings unchanged; encoding the same text returns the same bytes."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""
    """The byte order mark at the start of the file."""

    def encode(self, text: str) -> bytes:
        """Return ``text`` in this file's encoding. Raises ``ToolError`` if the encoding lacks a character of it."""
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise ToolError(
                f"the file is {_ENCODING_TITLES[self.encoding]}, which cannot encode {text[error.start]!r}; "
                "use other characters, or rewrite the file as UTF-8 with `write`"
            ) from None

    @property
    def line_ending(self) -> str:
        """The ending of most lines: CRLF or LF."""
        crlf = self.text.count("\r\n")
        return "\r\n" if crlf and crlf * 2 >= self.text.count("\n") else "\n"

    @property
    def lines(self) -> list[str]:
        """The lines without their endings."""
        return [line.rstrip("\r\n") for line in LINE.findall(self.text)]

    def redacted(self, redact: Redact) -> TextFile:
        """Return this file without what models must not see. Every line keeps its number."""
        return replace(self, text=redact(self.text))

    def notes(self) -> list[str]:
        """Describe what the lines alone do not show: encoding, byte order mark, line endings."""
        notes = [] if self.encoding == "utf-8" else [f"{_ENCODING_TITLES[self.encoding]} text"]
        if self.mark == codecs.BOM_UTF8:
            notes.append("starts with a byte order mark")
        crlf, line_feeds = self.text.count("\r\n"), self.text.count("\n")
        if crlf:
            notes.append("CRLF line endings" if crlf == line_feeds else f"{crlf} of {line_feeds} line endings are CRLF")
        if self.text and not self.text.endswith("\n"):
            notes.append("no newline at the end of the file")
        return notes


def decode_file(data: bytes, path: str) -> TextFile:
    """Decode the content of a file. Data that is not UTF-8 and has no UTF-16 mark is decoded as Latin-1.

    Raises ``ToolError`` for binary data (it contains a NUL byte) and for invalid UTF-16.
    """
    mark = data[:2]
    if mark in UTF16_MARKS:
        try:
            return TextFile(data[2:].decode(UTF16_MARKS[mark]), UTF16_MARKS[mark], mark)
        except UnicodeDecodeError:
            raise ToolError(f"{path} is not valid UTF-16, although it is marked so ({len(data):,} bytes)") from None
    if b"\0" in data:
        raise ToolError(f"{path} is binary ({len(data):,} bytes), not text")
    bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        return TextFile(data[len(bom) :].decode("utf-8"), "utf-8", bom)
    except UnicodeDecodeError:
        return TextFile(data[len(bom) :].decode("latin-1"), "latin-1", bom)


def fold_data(lines: list[str], path: str) -> list[str]:
    """Return the lines of a notebook without the base64 of its pictures; those of another file as they are."""
    return [_BASE64.sub(_describe_data, line) for line in lines] if path.endswith(".ipynb") else lines


def _describe_data(found: re.Match[str]) -> str:
    return f"({len(found[0]):,} characters of base64 that are not shown)"


def number_lines(lines: list[str], first: int, max_characters: int = _MAX_LINE_CHARACTERS) -> str:
    """Return the lines with their numbers, counted from ``first``; longer lines are cut, with a note."""
    return "\n".join(f"{number:>6}\t{_cut(line, max_characters)}" for number, line in enumerate(lines, first))


def _cut(line: str, max_characters: int) -> str:
    if len(line) <= max_characters:
        return line
    return f"{line[:max_characters]}… ({len(line) - max_characters:,} more characters)"


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 line``, ``1,000 lines``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

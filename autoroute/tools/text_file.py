"""Files as text that goes back to the very same bytes: encodings, line ends, and what is no text at all."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from autoroute.redaction import Redact
from autoroute.tools.tool import ToolError

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_TITLES = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "latin-1": "Latin-1"}

LINE = re.compile(r"[^\n]*\n|[^\n]+")
"""A line with its end. Only a line feed ends a line: form feeds and their like belong to the text."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text, line ends as they are; ``encode`` gives back its bytes, unchanged text its unchanged bytes."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""
    """The byte order mark in front."""

    def encode(self, text: str) -> bytes:
        """The bytes of ``text`` in this file's encoding. Raises ``ToolError`` when it cannot hold a character."""
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise ToolError(
                f"the file is {_TITLES[self.encoding]}, which cannot hold {text[error.start]!r}; "
                "use characters that it can hold, or rewrite the file with `write` as UTF-8"
            ) from None

    @property
    def line_end(self) -> str:
        """What ends most of its lines: CR LF, else LF."""
        both = self.text.count("\r\n")
        return "\r\n" if both and both * 2 >= self.text.count("\n") else "\n"

    @property
    def lines(self) -> list[str]:
        """Its lines without their ends."""
        return [line.rstrip("\r\n") for line in LINE.findall(self.text)]

    def redacted(self, redact: Redact) -> TextFile:
        """The same without what no model may be told; every line keeps its number."""
        return replace(self, text=redact(self.text))

    def notes(self) -> list[str]:
        """What a reader of the lines alone would not see."""
        notes = [] if self.encoding == "utf-8" else [f"{_TITLES[self.encoding]} text"]
        if self.mark == codecs.BOM_UTF8:
            notes.append("begins with a byte order mark")
        both, feeds = self.text.count("\r\n"), self.text.count("\n")
        if both:
            notes.append("lines end with CR LF" if both == feeds else f"{both} of {feeds} line ends are CR LF")
        if self.text and not self.text.endswith("\n"):
            notes.append("no line end at the end of the file")
        return notes


def decode_file(data: bytes, path: str) -> TextFile:
    """The text in ``data``. What is not UTF-8 and has no UTF-16 mark is read as Latin-1, byte by byte.

    Raises ``ToolError`` for binary data (it holds a NUL byte, or a broken UTF-16).
    """
    mark = data[:2]
    if mark in _UTF16:
        try:
            return TextFile(data[2:].decode(_UTF16[mark]), _UTF16[mark], mark)
        except UnicodeDecodeError:
            raise ToolError(f"{path} is marked as UTF-16 but is not ({len(data):,} bytes)") from None
    if b"\0" in data:
        raise ToolError(f"{path} is binary ({len(data):,} bytes), not text")
    bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        return TextFile(data[len(bom) :].decode("utf-8"), "utf-8", bom)
    except UnicodeDecodeError:
        return TextFile(data[len(bom) :].decode("latin-1"), "latin-1", bom)


def numbered(lines: list[str], first: int, width: int = 2_000) -> str:
    """Lines with their numbers from ``first``, as ``read`` shows them; long ones are cut, with a mark."""
    return "\n".join(f"{number:>6}\t{_cut(line, width)}" for number, line in enumerate(lines, first))


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[:width]}… ({len(line) - width:,} more characters)"


def counted(number: int, noun: str) -> str:
    """``1 line``, ``2 lines``, ``1,000 matches``."""
    ending = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending}"

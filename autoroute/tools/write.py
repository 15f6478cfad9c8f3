"""`write`: a whole file, new or in place of what was there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field

from autoroute.events import Intent
from autoroute.redaction import REDACTED, Redact
from autoroute.tools.arguments import PathText
from autoroute.tools.text_file import LINE, counted, decode_file
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome


class Write(Arguments):
    """What `write` takes."""

    path: PathText = Field(description="Path of the file, relative to the project's root. Folders are made as needed.")
    content: str = Field(description="The whole content of the file.")


def _prepare(given: Write, context: ToolContext) -> Step:
    files = context.files
    path = files.relative(given.path)
    old = files.read(path) if files.exists(path) else None
    text = _text(old, path)
    refuse_marks(path, text, [text, given.content], context.redact)
    new, note = _content(given.content, old, path)
    lines = counted(len(LINE.findall(given.content)), "line")
    done = f"created {path}" if old is None else f"{path} is unchanged" if old == new else f"replaced {path}"

    def run() -> ToolOutcome:
        files.write(path, new)
        return ToolOutcome(f"{done} ({lines}{note})")

    return Step(path, run, intend(path, old, new))


WRITE = Tool(
    name="write",
    description="Write a whole file as UTF-8, creating or replacing it. To change a part of a file, use edit.",
    arguments=Write,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    done="replaced",
)


def intend(path: str, before: bytes | None, after: bytes) -> Intent:
    """The change of a file from bytes (None: no file) to bytes, by their hashes."""
    return Intent(path=path, before=digest(before), after=digest(after))


def digest(data: bytes | None) -> str:
    """The hash of a file's bytes, "" for None: no file."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def refuse_marks(path: str, text: str, steps: Sequence[str], redact: Redact) -> None:
    """Raise ``ToolError`` where a step has more marks of a hidden key than the one before, and the file holds a key.

    A model sees the mark and writes it back: that would put it in the key's place.
    """
    adds = any(after.count(REDACTED) > before.count(REDACTED) for before, after in pairwise(steps))
    if adds and redact(text) != text:
        raise ToolError(
            f"nothing was done: {path} holds a key of the user's, which is hidden here: {REDACTED} stands in its place "
            "only in what you are shown; change the lines around it with edit, and leave that one as it is"
        )


def _text(data: bytes | None, path: str) -> str:
    """The text of a file; "" without one, and for what no model has read as text."""
    try:
        return decode_file(data or b"", path).text
    except ToolError:
        return ""


def _content(content: str, old: bytes | None, path: str) -> tuple[bytes, str]:
    """What to write: exactly ``content``, except that a file with CR LF line ends keeps them; and a note for the model.

    A model that sees lines cannot see their ends, and a change of every line would drown its real change.
    """
    if old and b"\r\n" in old and "\n" in content and "\r" not in content:
        try:
            kept = decode_file(old, path).line_end == "\r\n"
        except ToolError:
            kept = False
        if kept:
            return content.replace("\n", "\r\n").encode(), "; kept its CR LF line ends"
    return content.encode(), ""

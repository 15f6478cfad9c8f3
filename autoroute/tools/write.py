"""``write``: create a file or replace its whole content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field

from autoroute.events import Intent
from autoroute.redaction import REDACTED, Redact
from autoroute.tools.arguments import PathText
from autoroute.tools.line_endings import keep_line_endings, name_line_endings
from autoroute.tools.text_file import LINE, decode_file, format_count
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome


class Write(Arguments):
    """Arguments of ``write``."""

    path: PathText = Field(description="Path of the file, relative to the project's root. Missing folders are created.")
    content: str = Field(description="The whole content of the file.")


def _prepare(args: Write, context: ToolContext) -> Step:
    files = context.files
    path = files.relative(args.path)
    files.check_writable(path)
    before = files.read(path) if files.exists(path) else None
    old_text = _decode_or_empty(before, path)
    refuse_redaction_marks(path, old_text, [old_text, args.content], context.redact)
    after, note = _encode(args.content, before, path)
    lines = format_count(len(LINE.findall(args.content)), "line")
    done = f"created {path}" if before is None else f"{path} is unchanged" if before == after else f"replaced {path}"

    def run() -> ToolOutcome:
        files.write(path, after)
        return ToolOutcome(f"{done} ({lines}{note}){warn_left_out(path, context)}")

    return Step(path, run, make_intent(path, before, after))


WRITE = Tool(
    name="write",
    description="Write a whole file as UTF-8: create it or replace it. To change a part of a file, use edit.",
    arguments=Write,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    past_tense="replaced",
)


def make_intent(path: str, before: bytes | None, after: bytes) -> Intent:
    """Return the intent to change a file from one content (None: no file) to another, by their hashes."""
    return Intent(path=path, before=hash_file(before), after=hash_file(after))


def warn_left_out(path: str, context: ToolContext) -> str:
    """Return a line for the model if git leaves the file that was written out of the commit, "" if it takes it."""
    reason = context.explain_left_out(path)
    if not reason:
        return ""
    return f"\nwarning: this file is not part of the change ({reason}). Use another path, or change .gitignore first"


def hash_file(data: bytes | None) -> str:
    """Return the SHA-256 of a file's content as hex digits, "" for None (no file)."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def refuse_redaction_marks(path: str, text: str, versions: Sequence[str], redact: Redact) -> None:
    """Raise ``ToolError`` if the file contains a key and a version has more redaction marks than the one before it.

    Models see the mark in place of a key and copy it. Written to the file, the mark would destroy the key.
    """
    adds_marks = any(after.count(REDACTED) > before.count(REDACTED) for before, after in pairwise(versions))
    if adds_marks and redact(text) != text:
        raise ToolError(
            f"not changed: {path} contains one of the user's keys, which is shown to you as {REDACTED}; "
            "the file itself does not contain that mark. Change the lines around the key with edit, and leave its "
            "line as it is"
        )


def _decode_or_empty(data: bytes | None, path: str) -> str:
    """Return the text of a file, "" if the file is missing or not text."""
    try:
        return decode_file(data or b"", path).text
    except ToolError:
        return ""


def _encode(content: str, before: bytes | None, path: str) -> tuple[bytes, str]:
    """Return the bytes to write, and a note for the model about line endings that it does not see.

    An existing file keeps its line endings: converting every line would bury the real change in the diff.
    """
    try:
        old = decode_file(before or b"", path).text
    except ToolError:
        old = ""
    if "\n" not in old:
        sent = name_line_endings(content)
        return content.encode(), "" if sent in ("", "LF") else f"; with {sent} line endings, as sent"
    text = keep_line_endings(old, content, "\n")
    return text.encode(), "" if text == content else f"; kept its {name_line_endings(old)} line endings"

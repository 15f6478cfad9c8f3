"""``edit``: replace one passage of a file and leave every other byte unchanged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from autoroute.redaction import Redact
from autoroute.tools.arguments import Flag, PathText
from autoroute.tools.edit_match import (
    MAX_TOLERANT_SPANS,
    Span,
    find_exact,
    find_nearest_passage,
    find_tolerant,
    line_number,
)
from autoroute.tools.read import read_existing
from autoroute.tools.text_file import LINE, TextFile, decode_file, format_count, number_lines
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.tools.write import make_intent, refuse_redaction_marks
from autoroute.workspace.files import MAX_BYTES

_CONTEXT_LINES = 3
_MAX_SHOWN_LINES = 40
_MAX_LINE_CHARACTERS = 500
_MAX_LINE_NUMBERS = 20


class Edit(Arguments):
    """Arguments of ``edit``."""

    path: PathText = Field(description="Path of the file, relative to the project's root.")
    old: Annotated[str, StringConstraints(max_length=200_000)] = Field(
        description="The text to replace, exactly as in the file, without line numbers, "
        "with enough lines around it to occur only once."
    )
    new: str = Field(description="The text to put in its place; may be empty.")
    replace_all: Flag = Field(default=False, description="Replace every occurrence of old.")


def _prepare(args: Edit, context: ToolContext) -> Step:
    files = context.files
    path = files.relative(args.path)
    if not args.old:
        raise ToolError("old: is empty; give the text to replace, or use write for a whole file")
    if args.old == args.new:
        raise ToolError("new: is the same as old, so the edit changes nothing")
    before = read_existing(files, path)
    file = decode_file(before, path)
    refuse_redaction_marks(path, file.text, [file.text, args.old, args.new], context.redact)
    spans, note = _find(file, args, path, context.redact)
    text = _apply(file.text, spans)
    after = file.encode(text)

    def run() -> ToolOutcome:
        files.write(path, after)
        return ToolOutcome(_report(path, text, spans, note, context.redact))

    return Step(path, run, make_intent(path, before, after))


EDIT = Tool(
    name="edit",
    description=(
        "Replace a passage of a file. old must occur exactly once, unless replace_all is true. "
        "Differences in indentation, trailing white space and line endings are accepted if the match is unambiguous."
    ),
    arguments=Edit,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    past_tense="edited",
)


def _find(file: TextFile, args: Edit, path: str, redact: Redact) -> tuple[list[Span], str]:
    """Return the spans to replace, in order, and a note for the model if they do not match ``old`` exactly."""
    text, new = file.text, args.new
    if file.line_ending == "\r\n" and "\r" not in new:
        new = new.replace("\n", "\r\n")
    spans = find_exact(text, args.old, new)
    if not spans and "\n" in args.old and "\r" not in args.old:
        spans = find_exact(text, args.old.replace("\n", "\r\n"), new)
    if len(spans) == 1 or (spans and args.replace_all):
        return spans, ""
    if spans:
        raise ToolError(
            f"`old` occurs {len(spans)} times in {path}, at {_format_lines(text, spans)}; "
            "add lines around it to make it unique, or set replace_all"
        )
    spans = find_tolerant(text, args.old, new)
    if len(spans) == 1:
        return spans, " (the white space differs from `old`; `new` was adjusted to it)"
    if spans:
        times = f"at least {MAX_TOLERANT_SPANS}" if len(spans) == MAX_TOLERANT_SPANS else len(spans)
        raise ToolError(
            f"`old` was not found in {path} exactly; apart from white space it occurs {times} times, "
            f"at {_format_lines(text, spans)}; give it exactly, with lines around it that make it unique"
        )
    raise ToolError(_explain_not_found(redact(text), args.old, path))


def _explain_not_found(text: str, old: str, path: str) -> str:
    nearest = find_nearest_passage(text, old)
    if nearest is None:
        return f"`old` was not found in {path}; re-read the file"
    first, lines = nearest
    shown = number_lines(lines[:_MAX_SHOWN_LINES], first, _MAX_LINE_CHARACTERS)
    return f"`old` was not found in {path}. The most similar passage is:\n{shown}"


def _format_lines(text: str, spans: list[Span]) -> str:
    numbers = ", ".join(str(line_number(text, span.start)) for span in spans[:_MAX_LINE_NUMBERS])
    return f"{'lines' if len(spans) > 1 else 'line'} {numbers}{', …' if len(spans) > _MAX_LINE_NUMBERS else ''}"


def _apply(text: str, spans: list[Span]) -> str:
    size = len(text) + sum(len(span.replacement) - (span.end - span.start) for span in spans)
    if size > MAX_BYTES:
        raise ToolError(f"the edited file would exceed {MAX_BYTES:,} characters, too many to be read again")
    pieces, position = [], 0
    for span in spans:
        pieces += [text[position : span.start], span.replacement]
        position = span.end
    return "".join([*pieces, text[position:]])


def _report(path: str, text: str, spans: list[Span], note: str, redact: Redact) -> str:
    """Describe the edit, and show the lines around the first change as they are now."""
    first = spans[0]
    top = line_number(text, first.start)
    bottom = line_number(text, first.start + len(first.replacement))
    start = max(1, top - _CONTEXT_LINES)
    end = min(bottom + _CONTEXT_LINES, start + _MAX_SHOWN_LINES - 1)
    lines = [line.rstrip("\r\n") for line in LINE.findall(redact(text))[start - 1 : end]]
    shown = number_lines(lines, start, _MAX_LINE_CHARACTERS) if lines else "(the file is empty)"
    places = f" in {format_count(len(spans), 'place')}" if len(spans) > 1 else ""
    return f"edited {path}{places}{note}:\n{shown}"

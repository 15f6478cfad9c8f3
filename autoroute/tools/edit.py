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
from autoroute.tools.line_endings import find_line_ending, keep_line_endings, widen_to_line_endings
from autoroute.tools.read import read_existing
from autoroute.tools.text_file import LINE, TextFile, decode_file, format_count, number_lines
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.tools.write import make_intent, refuse_redaction_marks, warn_left_out
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
    files.check_writable(path)
    if not args.old:
        raise ToolError("old: is empty; give the text to replace, or use write for a whole file")
    if args.old == args.new:
        raise ToolError("new: is the same as old, so the edit changes nothing")
    before = read_existing(files, path)
    file = decode_file(before, path)
    refuse_redaction_marks(path, file.text, [file.text, args.old, args.new], context.redact)
    spans, note = _find(file, args, path, context.redact)
    text = _apply(file.text, spans)
    if text == file.text:
        raise ToolError(f"the edit changes nothing: each line of {path} keeps its ending; to change those, use bash")
    after = file.encode(text)

    def run() -> ToolOutcome:
        files.write(path, after)
        report = _report(path, text, spans, note, context.redact)
        return ToolOutcome(f"{report}{warn_left_out(path, context)}")

    return Step(path, run, make_intent(path, before, after))


EDIT = Tool(
    name="edit",
    description=(
        "Replace a passage of a file. old must occur exactly once, unless replace_all is true. "
        "Differences in indentation and trailing white space are accepted if the match is unambiguous. "
        "Every line keeps the line ending that the file has."
    ),
    arguments=Edit,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    past_tense="edited",
)


def _find(file: TextFile, args: Edit, path: str, redact: Redact) -> tuple[list[Span], str]:
    """Return the spans to replace, in order, and a note for the model if they do not match ``old`` exactly."""
    spans, note = _find_passages(file, args, path, redact)
    return [_keep_line_endings(file, span) for span in spans], note


def _keep_line_endings(file: TextFile, span: Span) -> Span:
    start, end, new = widen_to_line_endings(file.text, span.start, span.end, span.replacement)
    default = find_line_ending(file.text, end, file.line_ending)
    return Span(start, end, keep_line_endings(file.text[start:end], new, default))


def _find_passages(file: TextFile, args: Edit, path: str, redact: Redact) -> tuple[list[Span], str]:
    text, new = file.text, args.new
    # Models do not see line endings: they send LF, or CRLF for every file.
    with_lf = args.old.replace("\r\n", "\n")
    spelled = dict.fromkeys((args.old, with_lf, with_lf.replace("\n", "\r\n")))
    spans = next((found for old in spelled if (found := find_exact(text, old, new))), [])
    if len(spans) == 1 or (spans and args.replace_all):
        return spans, ""
    if spans:
        raise ToolError(
            f"`old` occurs {len(spans)} times in {path}, at {_format_lines(text, spans)}; "
            "add lines around it to make it unique, or set replace_all"
        )
    spans = find_tolerant(text, with_lf, new.replace("\r\n", "\n"))
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

"""`edit`: one passage of a file replaced, every other byte left as it was."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from autoroute.redaction import Redact
from autoroute.tools.arguments import Flag, PathText
from autoroute.tools.edit_match import MANY, Span, find_exact, find_tolerant, line_of, nearest_passage
from autoroute.tools.read import read_existing
from autoroute.tools.text_file import LINE, TextFile, counted, decode_file, numbered
from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolError, ToolOutcome
from autoroute.tools.write import intend, refuse_marks
from autoroute.workspace.files import MAX_BYTES

_AROUND = 3
_SHOWN = 40
_LISTED = 20


class Edit(Arguments):
    """What `edit` takes."""

    path: PathText = Field(description="Path of the file, relative to the project's root.")
    old: Annotated[str, StringConstraints(max_length=200_000)] = Field(
        description="The text to replace, exactly as it stands in the file, without line numbers, "
        "with enough lines around it to stand there only once."
    )
    new: str = Field(description="The text that takes its place; may be empty.")
    replace_all: Flag = Field(default=False, description="Replace every place where old stands.")


def _prepare(given: Edit, context: ToolContext) -> Step:
    files = context.files
    path = files.relative(given.path)
    if not given.old:
        raise ToolError("old: is empty; give the text to replace, or use write for a whole file")
    if given.old == given.new:
        raise ToolError("new: is the same as old, so there is nothing to change")
    data = read_existing(files, path)
    document = decode_file(data, path)
    refuse_marks(path, document.text, [document.text, given.old, given.new], context.redact)
    places, note = _find(document, given, path, context.redact)
    text = _apply(document.text, places)
    changed = document.encode(text)

    def run() -> ToolOutcome:
        files.write(path, changed)
        return ToolOutcome(_report(path, text, places, note, context.redact))

    return Step(path, run, intend(path, data, changed))


EDIT = Tool(
    name="edit",
    description=(
        "Replace a passage of a file. old must stand there exactly once, unless replace_all is true. "
        "Differences in indentation, trailing white space and line ends are forgiven when there is no doubt."
    ),
    arguments=Edit,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    done="edited",
)


def _find(document: TextFile, given: Edit, path: str, redact: Redact) -> tuple[list[Span], str]:
    """The places to change, in order, and what the model should know of how they were found."""
    text, new = document.text, given.new
    if document.line_end == "\r\n" and "\r" not in new:
        new = new.replace("\n", "\r\n")
    places = find_exact(text, given.old, new)
    if not places and "\n" in given.old and "\r" not in given.old:
        places = find_exact(text, given.old.replace("\n", "\r\n"), new)
    if len(places) == 1 or (places and given.replace_all):
        return places, ""
    if places:
        raise ToolError(
            f"old stands {len(places)} times in {path}, at {_at(text, places)}; "
            "add lines around it that make it unique, or set replace_all"
        )
    places = find_tolerant(text, given.old, new)
    if len(places) == 1:
        return places, ", where the white space differs from old; new was fitted to it"
    if places:
        many = f"at least {MANY}" if len(places) == MANY else len(places)
        raise ToolError(
            f"old does not stand in {path} as it is; apart from white space it stands {many} times, "
            f"at {_at(text, places)}; give it exactly, with lines around it that make it unique"
        )
    raise ToolError(_not_found(redact(text), given.old, path))


def _not_found(text: str, old: str, path: str) -> str:
    nearest = nearest_passage(text, old)
    if nearest is None:
        return f"old does not stand in {path}, nor anything like it; read the file again"
    first, lines = nearest
    return f"old does not stand in {path}. The nearest passage is:\n{numbered(lines[:_SHOWN], first, 500)}"


def _at(text: str, places: list[Span]) -> str:
    numbers = ", ".join(str(line_of(text, place.start)) for place in places[:_LISTED])
    return f"{'lines' if len(places) > 1 else 'line'} {numbers}{', …' if len(places) > _LISTED else ''}"


def _apply(text: str, places: list[Span]) -> str:
    size = len(text) + sum(len(place.replacement) - (place.end - place.start) for place in places)
    if size > MAX_BYTES:
        raise ToolError(f"the file would have more than {MAX_BYTES:,} characters; that is more than can be read again")
    pieces, position = [], 0
    for place in places:
        pieces += [text[position : place.start], place.replacement]
        position = place.end
    return "".join([*pieces, text[position:]])


def _report(path: str, text: str, places: list[Span], note: str, redact: Redact) -> str:
    """What was done, with the lines around the first change as they now stand."""
    first = places[0]
    top = line_of(text, first.start)
    bottom = line_of(text, first.start + len(first.replacement))
    start = max(1, top - _AROUND)
    shown = LINE.findall(redact(text))
    lines = [line.rstrip("\r\n") for line in shown[start - 1 : min(bottom + _AROUND, start + _SHOWN - 1)]]
    more = f" in {counted(len(places), 'place')}" if len(places) > 1 else ""
    return "\n".join(
        [f"edited {path}{more}{note}:", *([numbered(lines, start, 500)] if lines else ["(the file is empty)"])]
    )

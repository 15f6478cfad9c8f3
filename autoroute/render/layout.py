"""The picture of the live screen: a pure function of its view model, the size of the terminal and the time."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autoroute.render.clean import clean, clean_line
from autoroute.render.labels import format_duration
from autoroute.render.view_model import ViewModel
from autoroute.routing import Phase

_MARKS = {"done": ("✓", "green"), "active": ("▶", "cyan"), "failed": ("✗", "red"), "pending": ("·", "dim")}
_STEP_STYLES = {"✓": "green", "✗": "red", "!": "yellow", "→": "cyan", "…": "cyan"}
_MIN_BODY_ROWS = 3
_MAX_STREAMED_ROWS = 4
_MIN_ROUTE_COLUMNS = 8


def draw(view: ViewModel, width: int, height: int, now: float) -> RenderableType:
    """Return the whole frame, at most ``height - 1`` rows of ``width`` columns."""
    header = _header(view, width)
    rows = max(_MIN_BODY_ROWS, height - 1 - len(view.routes) - 4)
    if view.phase is None:
        return Group(header)
    body = _body(view, width - 4, rows, now)
    round = view.run.position.round
    title = Text(f" {view.phase} " + (f"round {round} " if round > 1 else ""), style="bold cyan")
    footer = Text(_fit(_totals(view, now), width - 6), style="dim")
    return Group(
        header, Panel(body, title=title, title_align="left", subtitle=footer, subtitle_align="right", style="")
    )


def summary(view: ViewModel, phase: Phase, outcome: str, seconds: float) -> Text:
    """Return the line that a finished phase leaves above the frame."""
    mark, style = _MARKS["failed" if outcome in ("failed", "rejected") else "done"]
    name, ending = clean(view.route_name(phase)), f"  {outcome}, {seconds:.1f} s"
    return Text.assemble((f"{mark} ", style), (f"{phase:<9}", "bold"), f" {name}", (ending, "dim"))


def _header(view: ViewModel, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    for phase in view.routes:
        mark, style = _MARKS[view.mark(phase)]
        seconds = view.seconds(phase)
        took = "" if seconds is None else f"{seconds:.1f} s"
        name = Text(f"{phase:<9}", style="bold" if style == "cyan" else "")
        room = max(_MIN_ROUTE_COLUMNS, width - 24)
        grid.add_row(Text(mark, style=style), name, Text(_fit(view.route_name(phase), room)), Text(took, style="dim"))
    title = Text(_fit(clean_line(view.title, width), width), style="bold")
    return Group(title, grid)


def _body(view: ViewModel, width: int, rows: int, now: float) -> RenderableType:
    lines: list[Text] = []
    if subtask := view.run.position.subtask:
        again = f", attempt {subtask.attempt}" if subtask.attempt > 1 else ""
        text = f"{subtask.subtask} ({subtask.number} of {subtask.total}{again}) {subtask.title}"
        lines.append(Text(_fit(text, width), style="bold"))
    last = _last(view, width, max(1, min(_MAX_STREAMED_ROWS, rows - len(lines) - 1)), now)
    steps = list(view.steps)[-max(1, rows - len(lines) - len(last)) :]
    for step in steps:
        lines.append(Text.assemble((f"{step.mark} ", _STEP_STYLES[step.mark]), _fit(step.text, width - 2)))
    return Group(*(lines + last or [Text("waiting for the first word", style="dim")]))


def _last(view: ViewModel, width: int, count: int, now: float) -> list[Text]:
    """Return what happens now: a wait, or what the model writes."""
    if view.waiting_until is not None:
        left = format_duration(view.waiting_until - now, units=4)
        return [Text(_fit(f"waiting {left} for {view.waiting_for}", width), style="bold yellow")]
    style = "dim italic" if view.thinking else ""
    return [Text(line, style=style) for line in _last_lines(view.words, width, count)]


def _last_lines(words: str, width: int, count: int) -> list[str]:
    """Return the end of what the model writes, wrapped by the cells that characters take."""
    lines: list[str] = []
    for paragraph in clean(words).replace("\t", "  ").splitlines()[-count:]:
        line = ""
        for character in paragraph:
            if cell_len(line) + cell_len(character) > width:
                lines.append(line)
                line = ""
            line += character
        lines.append(line)
    return [line for line in lines if line.strip()][-count:]


def _totals(view: ViewModel, now: float) -> str:
    usage = view.run.usage
    tokens, cost = usage.tokens(), usage.cost()
    cached = f" ({_short(tokens.cache_read)} cached)" if tokens.cache_read else ""
    counts = f"{_short(tokens.input + tokens.cache_read + tokens.cache_write)} in{cached}, {_short(tokens.output)} out"
    price = f" · ${cost:.2f}" if cost else ""
    return f" turn {usage.turns() + 1} · {counts}{price} · {_clock(now - view.started_at)} "


def _short(number: int) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else str(number)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def _fit(text: str, width: int) -> str:
    """Return one clean line of at most ``width`` cells."""
    line = clean_line(text, max(4, width))
    return line if cell_len(line) <= width else set_cell_size(line, max(1, width - 1)).rstrip() + "…"

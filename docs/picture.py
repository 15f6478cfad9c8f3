"""The picture of the live screen in README.md: `python -m docs.picture` runs the demo and draws it.

The events are those of a real run on scripted models. The picture is the frame in which coding runs its verify command.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from autoroute.app.plan import RunOptions
from autoroute.app.rehearsal import open_demo
from autoroute.app.run import begin_run
from autoroute.config.paths import read_environment
from autoroute.events import Event, PhaseEnded, VerifyStarted
from autoroute.render.layout import draw, summary
from autoroute.render.view_model import ViewModel
from autoroute.routing import Phase

PICTURE = Path(__file__).with_name("live-screen.svg")
_COLUMNS, _ROWS = 92, 18
_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""The fonts that Rich's template loads from a third party; the picture uses those of the reader's machine."""


def play_demo(folder: Path) -> list[Event]:
    """Run the demo in a folder, which is made, and return all its events."""
    with open_demo(folder, read_environment(), RunOptions()) as checked, begin_run(checked) as run:
        return list(run)


def draw_picture(events: Sequence[Event]) -> str:
    """Return the screen of a run as SVG: the lines of the phases that are done, and the frame of coding."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), markup=False, highlight=False, emoji=False)
    view, now = ViewModel(), 0.0
    for event in events:
        now = event.at.timestamp() if event.at else now
        view.apply(event, now)
        if isinstance(event, PhaseEnded):
            console.print(summary(view, event.phase, event.outcome, event.seconds))
        if isinstance(event, VerifyStarted) and event.phase is Phase.CODING:
            break
    console.print(draw(view, _COLUMNS, _ROWS, now))
    title = "autoroute run task.md --plan opus-4.5 --code glm-4.7"
    return _WEB_FONT.sub("", console.export_svg(title=title, unique_id="autoroute"))


def main() -> None:
    """Run the demo and write the picture."""
    with tempfile.TemporaryDirectory(prefix="autoroute-picture-") as folder:
        PICTURE.write_text(draw_picture(play_demo(Path(folder) / "demo")), encoding="utf-8")


if __name__ == "__main__":
    main()

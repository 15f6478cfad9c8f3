"""The decider that asks a person at the terminal: models' questions, recovery, gates, unconfined commands."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from autoroute.cli.artifact_editor import ArtifactFile, read_lines
from autoroute.cli.keyboard import END, Keyboard
from autoroute.engine.policy import Approval, Clock, Decision, Question, answer_unattended
from autoroute.events import GateReached, Option, RecoveryNeeded
from autoroute.render import Renderer
from autoroute.render.clean import clean, clean_line
from autoroute.render.labels import add_seconds, describe_option
from autoroute.render.panel import draw_panel, draw_wait, option_keys

_REDRAW_SECONDS = 1.0
_MAX_SHOWN_LINES = 12
_MAX_ROW_CHARACTERS = 100
_DOCUMENTS: Mapping[str, str] = MappingProxyType({"spec": "spec.md", "plan": "plan.json", "review": "qa.md"})
"""Artifact -> the file in the run folder to show to a person."""


@dataclass(slots=True)
class AtTerminal:
    """The person at the terminal as a ``Decider``.

    A provider's problem that stays unanswered for ``answer_within`` seconds takes its default. ``folder`` is the run's,
    ``resume`` the command that resumes it. ``editor`` is a command (``$VISUAL``, else ``$EDITOR``), "" without one.
    ``zone`` is the person's time zone, None for the machine's. No input raises. Signals raise anywhere, except that
    Ctrl-C within the editor belongs to the editor.
    """

    renderer: Renderer
    clock: Clock
    folder: Path
    answer_within: float
    resume: str
    editor: str = ""
    zone: tzinfo | None = None
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    _asked: tuple[RecoveryNeeded, datetime] | None = field(default=None, init=False)
    _draft: ArtifactFile | None = field(default=None, init=False)
    _all_allowed: bool = field(default=False, init=False)

    def answer(self, question: Question) -> str:
        """Ask a model's question; an empty answer leaves the decision to the model."""
        with self.renderer.pause():
            choose = "number or words" if question.options else "words"
            answer = self._line(
                f"\n{question.phase} asks: {_indent(question.text)}",
                *(f"  {number}. {_indent(option)}" for number, option in enumerate(question.options, start=1)),
                f"answer ({choose}; empty = let the model decide): ",
            )
        numbered = {str(number): option for number, option in enumerate(question.options, start=1)}
        return numbered.get(answer, answer) or answer_unattended(question)

    def recover(self, blocked: RecoveryNeeded) -> Decision:
        """Show the problem and the options; return the option of the key pressed, or the default after a while."""
        keyboard, console = Keyboard(self.stdin), self._console()
        end = self.clock.monotonic() + self.answer_within

        def draw(width: int) -> RenderableType:
            left = None if math.isinf(end) else end - self.clock.monotonic()
            return draw_panel(self._as_of_now(blocked), self.clock.now(), self.zone, left, width)

        self._shown_at(blocked)
        with self.renderer.pause():
            with keyboard.single_keys(), _transient(console, draw) as redraw:
                decision = self._choose(blocked, keyboard, end, redraw)
            chosen = replace(decision.option, wait=self._left(blocked, decision.option))
            words = describe_option(chosen, blocked.route, self.clock.now(), self.zone)
            console.print(Text(f"{'chosen' if decision.by == 'person' else 'no answer'}: {words}"))
        return decision

    def rest(self, blocked: RecoveryNeeded, option: Option) -> bool:
        """Count down to the end of a wait; return False when a key is pressed before that."""
        keyboard, now, ticks = Keyboard(self.stdin), self.clock.now(), self.clock.monotonic()
        seconds = self._left(blocked, option)
        end = add_seconds(now, seconds)

        def left() -> float:
            # Whichever comes first: the monotonic clock stops while a laptop sleeps, the wall clock may be set back.
            return min((end - self.clock.now()).total_seconds(), ticks + seconds - self.clock.monotonic())

        def draw(width: int) -> RenderableType:
            return draw_wait(blocked, option, end, left(), self.clock.now(), self.zone, width)

        with self.renderer.pause(), keyboard.single_keys(), _transient(self._console(), draw) as redraw:
            while (rest := left()) > 0:
                if keyboard.press(min(rest, _REDRAW_SECONDS)):
                    return False
                redraw()
        return True

    def allow(self, command: str) -> bool:
        """Show a command that would run without a sandbox, and ask for a yes; ``all`` allows all later ones too."""
        if self._all_allowed:
            return True
        rows = _command_rows(command)
        with self.renderer.pause():
            self._say("\nno sandbox works here: this command would run with your permissions:")
            if len(rows) > _MAX_SHOWN_LINES:
                half = _MAX_SHOWN_LINES // 2
                hidden = f"  … {len(rows) - 2 * half} more lines"
                answer = self._line(
                    *rows[:half], hidden, *rows[-half:], "show all of it? (yes, no; empty = no): "
                ).lower()
                if answer not in ("y", "yes"):
                    return False
            answer = self._line(*rows, "run it? (yes, no, all; empty = no): ").lower()
        self._all_allowed = answer == "all"
        return answer in ("y", "yes", "all")

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:
        """Show what a phase hands on, and return the person's decision."""
        draft = self._open_draft(gate, complaints)
        with self.renderer.pause():
            self._present(gate, complaints)
            return self._judge(draft)

    def _shown_at(self, blocked: RecoveryNeeded) -> datetime:
        """Return when this very problem was first shown: its waits count from then."""
        if self._asked is None or self._asked[0] is not blocked:
            self._asked = blocked, self.clock.now()
        return self._asked[1]

    def _left(self, blocked: RecoveryNeeded, option: Option) -> float:
        """Return the seconds left of an option's wait."""
        passed = max(0.0, (self.clock.now() - self._shown_at(blocked)).total_seconds())
        return max(0.0, (option.wait or 0.0) - passed)

    def _as_of_now(self, blocked: RecoveryNeeded) -> RecoveryNeeded:
        options = (replace(option, wait=self._left(blocked, option)) for option in blocked.options)
        return replace(blocked, options=tuple(options))

    def _choose(self, blocked: RecoveryNeeded, keyboard: Keyboard, end: float, redraw: Callable[[], None]) -> Decision:
        keys = option_keys(blocked)
        default = blocked.options[blocked.default]
        while not keyboard.closed and (left := end - self.clock.monotonic()) > 0:
            for key in keyboard.press(min(left, _REDRAW_SECONDS)):
                if key == END:
                    return Decision(default, "policy")
                if key in "\r\n":
                    return Decision(default, "person")
                if key.lower() in keys:
                    return Decision(blocked.options[keys[key.lower()]], "person")
            redraw()
        return Decision(default, "policy")

    def _present(self, gate: GateReached, complaints: Sequence[str]) -> None:
        if gate.artifact:
            path = self.folder / _DOCUMENTS[gate.artifact]
            self._say(f"\n{gate.phase} hands on {clean(str(path))}")
            self._say_all("  | ", read_lines(path))
        else:
            self._say(f"\n{gate.phase} hands on commits: autoroute diff {clean(self.folder.name)}")
        if complaints:
            self._say(f"the edited {gate.artifact or 'artifact'} is not valid:")
            self._say_all("  - ", complaints)

    def _judge(self, draft: ArtifactFile | None) -> Approval:
        """Ask until there is an answer. An approval approves the content of the artifact's file."""
        while True:
            ways = {"a": "approve", "r": "reject with words", "l": f"later ({clean(self.resume)})"}
            if draft and self.editor:
                ways["e"] = "edit and approve"
            if draft and draft.edited:
                ways["u"] = "undo the edit"
            match self._key(ways):
                case "a" if draft is None or draft.data is None:
                    return Approval("approved")
                case "a" | "e" as key if draft and (key == "a" or self._edit(draft)):
                    content = draft.read()
                    if not isinstance(content, str):
                        return Approval("approved", content=content)
                    self._say(content)
                case "r":
                    words = self._line("what must change (empty = back): ")
                    if words:
                        return Approval("rejected", words=words)
                case "u" if draft:
                    draft.undo()
                case "l":
                    return Approval("later")

    def _key(self, ways: Mapping[str, str]) -> str:
        """Return the first of these keys that is pressed, "l" when the input has ended."""
        keyboard = Keyboard(self.stdin)
        with keyboard.single_keys():
            self._say(f"{', '.join(f'{key} = {way}' for key, way in ways.items())}: ", end="")
            while not keyboard.closed:
                for key in keyboard.press(None).lower():
                    if key == END:
                        self._say("later")
                        return "l"
                    if key in ways:
                        self._say(key)
                        return key
        self._say("later")
        return "l"

    def _open_draft(self, gate: GateReached, complaints: Sequence[str]) -> ArtifactFile | None:
        """Return the artifact's file, None for commits. After complaints it is the same file, edit included."""
        if not gate.artifact:
            return None
        if not complaints or self._draft is None:
            self._draft = ArtifactFile.open(self.folder / f"{gate.artifact}.json")
        return self._draft

    def _edit(self, draft: ArtifactFile) -> bool:
        """Open the artifact in the editor; return whether it was changed."""
        before = draft.data
        try:
            command = [*shlex.split(self.editor), str(draft.path)]
            with Keyboard(self.stdin).lent():
                # Standard error, because our standard output may be a file and is for the result.
                done = subprocess.run(command, stdin=self.stdin, stdout=self.stderr, stderr=self.stderr, check=False)
        except (OSError, ValueError) as error:
            self._say(f"cannot start the editor {clean(self.editor)}: {clean(str(error))}")
            return False
        if done.returncode:
            self._say(f"the editor failed with exit code {done.returncode}")
        elif draft.data == before:
            self._say("no changes")
        else:
            return True
        return False

    def _line(self, *words: str) -> str:
        """Show these lines, and return the line typed after that; what was typed before answers no new question."""
        keyboard = Keyboard(self.stdin)
        keyboard.discard_typed()
        for line in words[:-1]:
            self._say(line)
        self._say(words[-1], end="")
        return keyboard.line()

    def _say_all(self, head: str, lines: Sequence[str]) -> None:
        for line in lines[:_MAX_SHOWN_LINES]:
            self._say(f"{head}{clean_line(line, 160)}")
        if len(lines) > _MAX_SHOWN_LINES:
            self._say(f"{head}… {len(lines) - _MAX_SHOWN_LINES} more")

    def _say(self, text: str, end: Literal["\n", ""] = "\n") -> None:
        print(text, end=end, file=self.stderr, flush=True)

    def _console(self) -> Console:
        return Console(file=self.stderr, markup=False, highlight=False, emoji=False)


def _indent(words: str) -> str:
    """Indent all but the first line of a model's words, so that none looks like a line of ours."""
    return clean("\n     ".join(words.splitlines()))


def _command_rows(command: str) -> list[str]:
    """Break a command into indented rows of bounded length, so that none looks like a line of ours."""
    lines = clean(command).splitlines()
    rows = [
        line[start : start + _MAX_ROW_CHARACTERS]
        for line in lines
        for start in range(0, len(line) or 1, _MAX_ROW_CHARACTERS)
    ]
    return [f"{'     ' if number else '  '}{row}" for number, row in enumerate(rows)]


@contextmanager
def _transient(console: Console, draw: Callable[[int], RenderableType]) -> Iterator[Callable[[], None]]:
    """Show a picture until the end of this block; yield a function that redraws it.

    Where it cannot be redrawn (a dumb terminal, or too few rows), it is printed once and stays.
    """
    picture = draw(console.width)
    if console.is_dumb_terminal or len(console.render_lines(picture)) >= console.height:
        console.print(picture)
        yield lambda: None
        return
    with Live(
        console=console,
        get_renderable=lambda: draw(console.width),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        live.refresh()
        yield live.refresh

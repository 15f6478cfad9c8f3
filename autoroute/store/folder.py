"""``.autoroute/runs/RUN/``: a run's journal, and the files that are derived from it for people and scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autoroute.atomic import replace_file
from autoroute.errors import WorkspaceError, map_resource_error
from autoroute.events import ArtifactAccepted, Event, PhaseEnded, RunEnded, RunResumed, RunStarted
from autoroute.invisible import escape_in_json
from autoroute.parsing import Unreadable, read_object
from autoroute.receipt import Receipt
from autoroute.regular_files import read_file
from autoroute.state import RunState
from autoroute.store.journal import Journal, Reader, sync_folder
from autoroute.store.markdown import review_document, spec_document
from autoroute.store.run_lock import hold, is_held
from autoroute.store.summary import SUMMARIZED, Summary, run_json, summarize
from autoroute.text import did_you_mean

_HOME = ".autoroute"
_GITIGNORE = b"*\n"
_MAX_SLUG_CHARACTERS = 40
_TIME_FORMAT = "%Y%m%d-%H%M%S"
_TIME_CHARACTERS = len("20261123-081530")
_PERMISSION_HINT = "check that you may write there"


def new_run_id(now: datetime, title: str) -> str:
    """Return an id such as ``20261123-081530-fix-slugify``: it sorts by time, and fits file names and branches."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG_CHARACTERS].rstrip("-")
    return f"{now.astimezone(UTC):{_TIME_FORMAT}}-{slug or 'task'}"


class FileNotWritten(WorkspaceError):
    """A file that is derived from the journal could not be written. ``event`` itself is in the journal."""

    event: Event


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._now = now
        self._journal: Journal | None = None
        self._state = RunState()

    @property
    def id(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def begun(self) -> bool:
        """Whether this object has recorded or read an event."""
        return self._state.started is not None

    @property
    def resume_command(self) -> str:
        """The command that resumes the run in this repository."""
        return f"autoroute resume {self.id}"

    @property
    def patch(self) -> Path:
        """The file for the whole change, as a patch."""
        return self.path / "changes.patch"

    @property
    def logs(self) -> Path:
        """The folder for output that was cut."""
        return self.path / "logs"

    @classmethod
    def create(
        cls,
        root: Path,
        id: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        made_here: Callable[[str], bool] | None = None,
    ) -> RunFolder:
        """Create a folder in the repository at ``root``, with a number after an id that is taken.

        After the clock was set back, the id gets a later time, so that it sorts after every run ``made_here``. A run
        folder that came with the repository does not count: it could push the ids far into the future.
        """
        runs = _home(root) / "runs"
        try:
            runs.mkdir(mode=0o700, parents=True, exist_ok=True)
            _hide(runs.parent)
            path = _make_unique(runs, _after(id, filter(made_here, _names(root) if made_here else ())))
            (path / "logs").mkdir(mode=0o700)
            for parent in (runs, runs.parent, root):
                sync_folder(parent)
        except OSError as error:
            raise WorkspaceError(
                f"cannot create the run folder in {runs}: {error.strerror}", hint=_PERMISSION_HINT
            ) from None
        folder = cls(path, now)
        folder._journal = Journal.create(path / "events.jsonl", now)
        return folder

    @classmethod
    def open(cls, root: Path, name: str) -> RunFolder:
        """Open the run with this id, or the only one whose id begins so, or the ``latest``."""
        names = _names(root)
        if not names:
            raise WorkspaceError(f"no runs in {root} yet", hint="autoroute run TASK")
        if name == "latest":
            begun = [known for known in names if _has_journal(_home(root) / "runs" / known)]
            matching = (begun or names)[-1:]
        else:
            matching = [known for known in names if known == name]
        matching = matching or [known for known in names if known.startswith(name)]
        if len(matching) == 1:
            return cls(_home(root) / "runs" / matching[0])
        if matching:
            raise WorkspaceError(
                f"{name!r} matches {len(matching)} runs: {', '.join(matching)}", hint="give more of the id"
            )
        raise WorkspaceError(
            f"run not found: {name!r}", hint=did_you_mean(name, names, limit=1, otherwise="autoroute runs")
        )

    def take_up(self) -> list[Event]:
        """Open the journal for writing and return its events. A torn tail is set aside and cut off.

        Raises ``WorkspaceError`` for a folder with symbolic links, which could redirect what is written here.
        """
        # Hidden ones are fine: editors leave dangling links beside open files (.#plan.json).
        links = [path.name for path in self.path.rglob("[!.]*") if path.is_symlink()]
        if links:
            raise WorkspaceError(f"{self.path} contains symbolic links: {', '.join(links[:5])}", hint="delete them")
        self._journal = Journal.open(self.path / "events.jsonl", self._now)
        past = self.events()
        for event in past:
            self._state.apply(event)
        return past

    def record(self, event: Event) -> Event:
        """Append an event to the journal, then update the derived files; return the event with its number and time.

        Raises ``NotRecorded`` when the journal did not take it, ``FileNotWritten`` when a derived file was not written.
        """
        assert self._journal is not None, "the folder was opened for reading"
        recorded = self._journal.append(event)
        self._state.apply(recorded)
        try:
            self._update_files(recorded)
        except FileNotWritten as error:
            error.event = recorded
            raise
        return recorded

    def _update_files(self, event: Event) -> None:
        match event:
            case ArtifactAccepted():
                self._keep_artifact(event)
            case RunStarted() | RunResumed():
                self._write_json("run.json", run_json(self._state))
            case PhaseEnded():
                self._write_json("receipt.json", self.current_receipt().as_json())
            case RunEnded():
                self.derive()

    def derive(self) -> None:
        """Write ``receipt.json`` and ``run.json`` from the events on record."""
        self._write_json("receipt.json", self.current_receipt().as_json())
        self._write_json("run.json", run_json(self._state))

    def events(self) -> list[Event]:
        """Return every event on record. A torn tail is ignored and left as it is."""
        return list(self._read())

    def state(self) -> RunState:
        """Return what the events on record mean, without holding them."""
        return RunState.of(self._read())

    def _read(self, wanted: Collection[str] | None = None) -> Reader:
        return Reader(self.path / "events.jsonl", wanted)

    def artifact(self, name: str) -> dict[str, Any]:
        """Return an artifact as it is in the folder now: a person may have edited it. Raises ``WorkspaceError``."""
        path = self.path / f"{name}.json"
        try:
            return read_object(read_file(path))
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        except Unreadable as error:
            problem = f"is {error}"
        raise WorkspaceError(f"{path} {problem}", hint="correct the file, then try again")

    def change(self) -> bytes | None:
        """Return the whole change as a patch, None before one was published. Raises ``WorkspaceError``."""
        try:
            return read_file(self.patch)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorkspaceError(f"{self.patch} cannot be read: {error.strerror}") from None

    def receipt(self) -> Receipt:
        """Return the receipt of what is on record, which a killed run has too."""
        return Receipt.from_state(self.state())

    def current_receipt(self) -> Receipt:
        """Return the receipt of the events that this object has recorded or read, without reading them again."""
        return Receipt.from_state(self._state)

    @property
    def is_locked(self) -> bool:
        """Whether a process works on the run."""
        return is_held(self.path / "lock")

    def summary(self) -> Summary:
        """Return where the run is."""
        is_running = self.is_locked
        try:
            return summarize(self.id, RunState.of(self._read(SUMMARIZED)), is_running=is_running)
        except WorkspaceError:
            return Summary(self.id, "unreadable")

    @contextmanager
    def lock(self, command: str = "") -> Iterator[None]:
        """Hold the run within the block. Raises ``WorkspaceError`` when another process holds it.

        ``command`` is shown to other processes that want the run meanwhile.
        """
        with hold(self.path / "lock", f"run {self.id}", command):
            yield

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path)

    def _keep_artifact(self, event: ArtifactAccepted) -> None:
        self._write_json(f"{event.artifact}.json", event.content)
        if event.artifact == "spec":
            self._write("spec.md", spec_document(event.content))
        elif event.artifact == "review":
            self._write("qa.md", review_document(event.content))

    def _write_json(self, name: str, content: Any) -> None:
        self._write(name, escape_in_json(json.dumps(content, indent=1, ensure_ascii=False)) + "\n")

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        try:
            replace_file(path, text.encode("utf-8", "replace"))
        except OSError as error:
            failure = map_resource_error(error)
            raise FileNotWritten(
                f"{path} cannot be written: {error.strerror}", hint=failure.hint if failure else _PERMISSION_HINT
            ) from None


def list_runs(root: Path) -> list[Summary]:
    """Return every run of the repository, newest first, from the folders as they are now."""
    return [RunFolder(_home(root) / "runs" / name).summary() for name in reversed(_names(root))]


def _home(root: Path) -> Path:
    """Return ``.autoroute``. Raises ``WorkspaceError`` for a link there: a repository could redirect files with it."""
    home = root / _HOME
    for folder in (home, home / "runs"):
        with _readable(folder):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise WorkspaceError(f"{folder} is not a folder", hint="move it: autoroute keeps its runs there")
    return home


def _names(root: Path) -> list[str]:
    runs = _home(root) / "runs"
    with _readable(runs):
        found = (path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()) if runs.is_dir() else ()
        return sorted(path.name for path in found)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn an ``OSError`` within the block into a ``WorkspaceError`` that names the place."""
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise WorkspaceError(f"{place} cannot be read: {error.strerror}", hint="check its owner and mode") from None


def _hide(home: Path) -> None:
    """Make git ignore ``.autoroute``: transcripts must not get into the user's next commit."""
    ignore = home / ".gitignore"
    if not os.path.lexists(ignore):
        replace_file(ignore, _GITIGNORE, mode=0o644)
        return
    with suppress(OSError):
        if read_file(ignore) == _GITIGNORE:
            return
    raise WorkspaceError(
        f"{ignore} was changed: files of runs could get into a commit",
        hint="delete it; autoroute writes it again",
    )


def _has_journal(folder: Path) -> bool:
    """Return whether a journal has content. One that cannot be read counts, so that ``latest`` does not skip it."""
    try:
        facts = (folder / "events.jsonl").lstat()
        return facts.st_size > 0 or not stat.S_ISREG(facts.st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _after(id: str, runs: Iterable[str]) -> str:
    """Return the id; with the second after the newest of these runs if it would not sort after that."""
    time, slug = id[:_TIME_CHARACTERS], id[_TIME_CHARACTERS:]
    for known in runs:
        with suppress(ValueError, OverflowError):
            then = datetime.strptime(known[:_TIME_CHARACTERS], _TIME_FORMAT).replace(tzinfo=UTC)
            time = max(time, f"{then + timedelta(seconds=1):{_TIME_FORMAT}}")
    return time + slug


def _make_unique(runs: Path, id: str) -> Path:
    number = 1
    while True:
        path = runs / (id if number == 1 else f"{id}-{number}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return path

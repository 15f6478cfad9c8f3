"""``.autoroute/runs/RUN/``: a run's journal, and the files that are derived from it for people and scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autoroute.atomic import read_file, replace_file
from autoroute.errors import WorkspaceError, map_resource_error
from autoroute.events import ArtifactAccepted, Event, PhaseEnded, RunEnded, RunResumed, RunStarted
from autoroute.parsing import Unreadable, read_object
from autoroute.receipt import Receipt
from autoroute.state import RunState
from autoroute.store.journal import Journal, read, sync_folder
from autoroute.store.markdown import review_document, spec_document
from autoroute.store.run_lock import hold, is_held
from autoroute.store.summary import Summary, run_json, summarize
from autoroute.text import did_you_mean

_HOME = ".autoroute"
_IGNORES = b"*\n"
_LONGEST_SLUG = 40
_TIME = "%Y%m%d-%H%M%S"
_TIME_LONG = len("20261123-081530")
_RIGHTS = "check that you may write there"


def new_run_id(now: datetime, title: str) -> str:
    """``20261123-081530-fix-slugify``: sorts by time, and is fit for a file name and a branch."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].rstrip("-")
    return f"{now.astimezone(UTC):{_TIME}}-{slug or 'task'}"


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
        """Whether there is an event on record, of those that were recorded or taken up here."""
        return self._state.started is not None

    @property
    def patch(self) -> Path:
        """Where the whole change goes, as a patch."""
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
        """A new folder in the repository at ``root``; a number is added to an id that is taken.

        Where a clock was set back, the id says a later time than it is: it sorts after every run ``made_here``, and not
        after one that a repository has brought.
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
            raise WorkspaceError(f"the run folder cannot be made in {runs}: {error.strerror}", hint=_RIGHTS) from None
        folder = cls(path, now)
        folder._journal = Journal.create(path / "events.jsonl", now)
        return folder

    @classmethod
    def open(cls, root: Path, name: str) -> RunFolder:
        """The run with this id, or the only one that begins so, or the ``latest``."""
        names = _names(root)
        if not names:
            raise WorkspaceError(f"there are no runs in {root}", hint="autoroute run TASK")
        if name == "latest":
            begun = [known for known in names if _has_journal(_home(root) / "runs" / known)]
            matching = (begun or names)[-1:]
        else:
            matching = [known for known in names if known == name]
        matching = matching or [known for known in names if known.startswith(name)]
        if len(matching) == 1:
            return cls(_home(root) / "runs" / matching[0])
        if matching:
            raise WorkspaceError(f"{name!r} is the beginning of {len(matching)} runs: {', '.join(matching)}")
        raise WorkspaceError(
            f"there is no run {name!r}", hint=did_you_mean(name, names, limit=1, otherwise="autoroute runs")
        )

    def take_up(self) -> list[Event]:
        """Open the journal to go on with it; what is on record. A torn tail is kept aside and cut off.

        Raises ``WorkspaceError`` for a folder that holds links, which would send what is written here elsewhere.
        """
        # Editors leave links that lead nowhere beside what they have open (.#plan.json).
        links = [path.name for path in self.path.rglob("[!.]*") if path.is_symlink()]
        if links:
            raise WorkspaceError(f"{self.path} holds symbolic links: {', '.join(links[:5])}", hint="take them away")
        self._journal = Journal.open(self.path / "events.jsonl", self._now)
        past = self.events()
        for event in past:
            self._state.apply(event)
        return past

    def record(self, event: Event) -> Event:
        """Append an event to the journal, then update the derived files; return the event with its number and time.

        Raises ``NotRecorded`` when the journal did not take it, ``FileNotWritten`` when a derived file was not written.
        """
        assert self._journal is not None, "a folder that was opened to be read takes no events"
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
                self._write_json("receipt.json", Receipt.from_state(self._state).as_json())
            case RunEnded():
                self.derive()

    def derive(self) -> None:
        """Write the files that say how the run ended, of what is on record."""
        self._write_json("receipt.json", Receipt.from_state(self._state).as_json())
        self._write_json("run.json", run_json(self._state))

    def events(self) -> list[Event]:
        """Every event that is on record; a torn tail is left alone."""
        records, _ = read(self.path / "events.jsonl")
        return [record.event for record in records]

    def artifact(self, name: str) -> dict[str, Any]:
        """An artifact as it stands here, where a person may have edited it. Raises ``WorkspaceError``."""
        path = self.path / f"{name}.json"
        try:
            return read_object(read_file(path))
        except OSError as error:
            words = f"cannot be read: {error.strerror}"
        except Unreadable as error:
            words = f"is {error}"
        raise WorkspaceError(f"{path} {words}", hint="mend it, then try again")

    def change(self) -> bytes | None:
        """The whole change, as a patch; None where none was delivered. Raises ``WorkspaceError``."""
        try:
            return read_file(self.patch)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorkspaceError(f"{self.patch} cannot be read: {error.strerror}") from None

    def receipt(self) -> Receipt:
        """Return the receipt of what is on record, which a killed run has too."""
        return Receipt.of(self.events())

    def summary(self) -> Summary:
        """Return where the run is."""
        is_running = is_held(self.path / "lock")
        try:
            return summarize(self.id, RunState.of(self.events()), is_running=is_running)
        except WorkspaceError:
            return Summary(self.id, "unreadable")

    @contextmanager
    def lock(self, command: str = "") -> Iterator[None]:
        """Hold the run; raises ``WorkspaceError`` when another process does. The system lets go of it at any end.

        ``command`` is what that process would be told of this one.
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
        self._write(name, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        try:
            replace_file(path, text.encode("utf-8", "replace"))
        except OSError as error:
            failure = map_resource_error(error)
            raise FileNotWritten(
                f"{path} cannot be written: {error.strerror}", hint=failure.hint if failure else _RIGHTS
            ) from None


def list_runs(root: Path) -> list[Summary]:
    """Every run of the repository, newest first, made of the folders as they are now."""
    return [RunFolder(_home(root) / "runs" / name).summary() for name in reversed(_names(root))]


def _home(root: Path) -> Path:
    """``.autoroute``, unless a repository has put a link there to send our files elsewhere."""
    home = root / _HOME
    for folder in (home, home / "runs"):
        with _readable(folder):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise WorkspaceError(f"{folder} is not a folder", hint="move it away: autoroute keeps its runs there")
    return home


def _names(root: Path) -> list[str]:
    runs = _home(root) / "runs"
    with _readable(runs):
        found = (path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()) if runs.is_dir() else ()
        return sorted(path.name for path in found)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Within it, what cannot be looked at is an error in words."""
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise WorkspaceError(f"{place} cannot be read: {error.strerror}", hint="check its owner and mode") from None


def _hide(home: Path) -> None:
    """Have git ignore ``.autoroute``; what was said in a run is not for the next commit of whoever ran it."""
    ignore = home / ".gitignore"
    if not os.path.lexists(ignore):
        replace_file(ignore, _IGNORES, mode=0o644)
        return
    with suppress(OSError):
        if read_file(ignore) == _IGNORES:
            return
    raise WorkspaceError(
        f"{ignore} is not the one that autoroute writes: what runs keep there could get into a commit",
        hint="delete it; autoroute writes its own",
    )


def _has_journal(folder: Path) -> bool:
    """Whether anything was written down; what cannot be read counts, and is no reason to take another run."""
    try:
        facts = (folder / "events.jsonl").lstat()
        return facts.st_size > 0 or not stat.S_ISREG(facts.st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _after(id: str, runs: Iterable[str]) -> str:
    """The id, with the second after that of the newest of these runs where it does not come after it."""
    time, slug = id[:_TIME_LONG], id[_TIME_LONG:]
    for known in runs:
        with suppress(ValueError, OverflowError):
            then = datetime.strptime(known[:_TIME_LONG], _TIME).replace(tzinfo=UTC)
            time = max(time, f"{then + timedelta(seconds=1):{_TIME}}")
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

"""The record of runs: folder, journal, and the files derived from it. The store sees events only.

journal.py   the append-only record of events, checksummed line by line
folder.py    ``.autoroute/runs/RUN/``: the journal and the files that people read
summary.py   a line of ``autoroute runs``, and ``run.json``
markdown.py  ``spec.md`` and ``qa.md``
run_lock.py  the lock of a run
registry.py  the runs that this machine created
"""

from __future__ import annotations

from autoroute.store.folder import FileNotWritten, RunFolder, list_runs, new_run_id
from autoroute.store.journal import NotRecorded
from autoroute.store.registry import RunRegistry
from autoroute.store.summary import Summary

__all__ = ["FileNotWritten", "NotRecorded", "RunFolder", "RunRegistry", "Summary", "list_runs", "new_run_id"]

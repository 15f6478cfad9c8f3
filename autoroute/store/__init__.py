"""What is remembered of runs: the folder, the journal, and what is derived from it. The store sees events only.

journal.py   the append-only record of events, checksummed line by line
folder.py    ``.autoroute/runs/RUN/``: the journal and the files that people read
run_lock.py  who works on a run
registry.py  which runs this machine has made
state.py     one pure fold over events: where a run stands
receipt.py   one pure fold over events: what was asked for and what was served
"""

from __future__ import annotations

from autoroute.store.folder import FileNotWritten, RunFolder, list_runs, new_run_id
from autoroute.store.journal import NotRecorded
from autoroute.store.registry import RunRegistry
from autoroute.store.summary import Summary

__all__ = ["FileNotWritten", "NotRecorded", "RunFolder", "RunRegistry", "Summary", "list_runs", "new_run_id"]

"""autoroute: one task, four phases, each on the provider and model chosen for it.

    cli/         what a person types: Typer commands, thin; words, flags, keys, signals
    app/         what any caller can do with a run: plan, check, begin, drive, resume; the public API

    config/      what a run will do: files, environment, flags -> RunConfig and keys; the only reader of the environment
    preflight/   what is proved before a token is spent
    engine/      how a run proceeds: pipeline, agent loop, recovery. No I/O of its own, no vendor names
    claude/      the official Claude Code command line as a runner
    store/       what is remembered: run folder, journal, receipt
    render/      what a person sees: live (Rich), plain, jsonl

    providers/   who can be asked: built-in profiles, model catalog, credentials
    wire/        how models are spoken to: one transport, one file a protocol
    tools/       what models may do: read, write, edit, bash, grep, find, ask, submit

    phases/      what each phase asks for and gives: table, transitions, artifacts, prompts
    workspace/   where models work: private clone, checkpoints, sandbox
    demo/        a provider to practice on: loopback model server, scripted models, a small task

    state/       what the events of a run mean: one fold, which resume, receipt, listings and screens read

    events.py routing.py messages.py errors.py   the words that all of them share
    receipt.py error_phrases.py                  the receipt as a value, and errors in words
    cancellation.py                              the token that stops a run from any thread
    redaction.py invisible.py parsing.py         hiding keys, invisible characters, parsing within limits
    atomic.py regular_files.py                   files written whole, and read within limits
    text.py tables.py network.py                 texts cut, tables merged, addresses
    json_schema.py version.py                    schemas of our values, and the version

Values go down as arguments, events come up by ``yield``, decisions go down through one callable.
Imports point down these floors and never up; ``tests/test_architecture.py`` holds that.

The names below are the public API. They are imported when first used, so that ``import autoroute`` costs nothing.
"""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and {"autoroute", "-mautoroute"} & set(sys.orig_argv):
    # ``python -m`` puts the working folder first, so a ``json.py`` of a repository would run in place of Python's.
    # Nothing may be imported before this, not even ``__future__``.
    del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoroute.version import __version__

if TYPE_CHECKING:
    from autoroute.app.api import check, open_run, resume
    from autoroute.app.ports import Observer, Store
    from autoroute.app.run import Run, RunResult
    from autoroute.cancellation import CancelToken
    from autoroute.engine.policy import Decider
    from autoroute.errors import AutorouteError, ProviderError
    from autoroute.events import Event
    from autoroute.tools import Toolbox

__all__ = [
    "AutorouteError",
    "CancelToken",
    "Decider",
    "Event",
    "Observer",
    "ProviderError",
    "Run",
    "RunResult",
    "Store",
    "Toolbox",
    "__version__",
    "check",
    "open_run",
    "resume",
]

_MODULES = {
    "AutorouteError": "autoroute.errors",
    "CancelToken": "autoroute.cancellation",
    "Decider": "autoroute.engine.policy",
    "Event": "autoroute.events",
    "Observer": "autoroute.app.ports",
    "ProviderError": "autoroute.errors",
    "Run": "autoroute.app.run",
    "RunResult": "autoroute.app.run",
    "Store": "autoroute.app.ports",
    "Toolbox": "autoroute.tools",
    "check": "autoroute.app.api",
    "open_run": "autoroute.app.api",
    "resume": "autoroute.app.api",
}
"""Public name -> the module that has it."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name in ("errors", "events"):
        return import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)

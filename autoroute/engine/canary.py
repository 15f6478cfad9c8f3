"""The canary: does any verify command notice when the source files of the change cannot be parsed?

If all of them pass, what they ran is not the change: tests that import another copy of the project, or none at all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import PurePosixPath

from autoroute.engine.sitting import Sitting
from autoroute.engine.verification import find_known_failures, run_command, sort_result
from autoroute.events import CanaryEnded, CanaryStarted, Event
from autoroute.patterns import pattern
from autoroute.routing import Phase
from autoroute.workspace import CommandResult

UNPARSABLE = (
    b")]}\"'`> autoroute made this file unparsable for a moment, to see which verify command notices.\n"
    b"<?php )]} ?>\n<script> )]} </script>\n{% )]} %}{{ )]} }}\n"
)
"""No compiler or interpreter accepts it. The second line is for languages in which other text is content."""
_MIN_SECONDS = 60.0
_TIME_FACTOR = 3.0
"""A command may take so many times what it took before, and at least ``_MIN_SECONDS``."""
_MAX_FILES = 2_000
_SUFFIXES = """
    py pyx pyi ipynb js mjs cjs jsx ts mts cts tsx vue svelte astro go rs c h cc cpp cxx hh hpp hxx m mm swift java
    kt kts scala groovy gradle clj cljs cs fs vb rb erb rake php pl pm t lua r jl ex exs erl hs ml mli elm dart zig nim
    d f f90 f95 pas asm s sh bash zsh fish ps1 sql cmake mk proto graphql jinja j2 tf nix sol v sv vhd awk
"""
_SOURCE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
_SOURCE_NAMES = frozenset({"Makefile", "GNUmakefile", "makefile", "CMakeLists.txt", "Rakefile", "Gemfile"})
_TEST_PATH = pattern(
    r"(?:^|/)(?:tests?|__tests__|specs?|testing)/|(?:^|/)(?:test_[^/]*|conftest)\.\w+$|[_.-](?:tests?|spec)\.\w+$"
    r"|(?:^|/)[^/]*(?:Tests?|Spec|IT)\.(?:java|kt|scala|groovy|cs|swift|php)$"
)


def find_sources(changed: Sequence[str]) -> tuple[str, ...]:
    """Return the source files among these paths; its tests only where it has no other source file.

    A test that cannot be parsed fails whatever it tests, so it would hide that it tests something else.
    """
    sources = [path for path in changed if _is_source(path)]
    return tuple([path for path in sources if not _TEST_PATH.search(path)] or sources)[:_MAX_FILES]


def run_canary(sitting: Sitting, phase: Phase, tree: str) -> Generator[Event, None, None]:
    """Run the verify commands that passed, fastest first, until one notices that the change cannot be parsed."""
    context = sitting.context
    if context.config.verify.canary == "off":
        return
    files = find_sources(context.workspace.changed_files())
    passed = sorted((event for event in sitting.state.work.evidence if event.passed), key=lambda event: event.seconds)
    reason = "the change has no source file" if not files else "" if passed else "no verify command passed"
    if reason:
        yield CanaryEnded(phase=phase, tested=None, files=files, commands=(), reason=reason, seconds=0.0)
        return
    context.cancel.check()
    yield CanaryStarted(phase=phase, files=files, tree=tree)
    ran: list[str] = []
    seconds, noticed = 0.0, False
    with context.workspace.overwritten(files, UNPARSABLE) as broken:
        for event in passed if broken else ():
            context.cancel.check()
            result = run_command(
                sitting, event.command, f"canary-{len(ran) + 1}", max(_MIN_SECONDS, _TIME_FACTOR * event.seconds)
            )
            ran.append(event.command)
            seconds += result.seconds
            noticed = not _passes(sitting, event.command, result)
            if noticed:
                break
    context.workspace.restore(tree)
    yield CanaryEnded(
        phase=phase,
        tested=noticed if broken else None,
        files=tuple(broken),
        commands=tuple(ran),
        reason="" if broken else "no source file of the change can be overwritten",
        seconds=seconds,
    )


def _passes(sitting: Sitting, command: str, result: CommandResult) -> bool:
    """Return whether a command passes by the same rules as before."""
    if result.passed:
        return True
    _, tests = sort_result(sitting, result)
    declared = sitting.artifacts.plan.known_failures
    return bool(find_known_failures(command, result, tests, sitting.state.work.baseline, declared))


def _is_source(path: str) -> bool:
    place = PurePosixPath(path)
    return place.suffix.lower() in _SOURCE_SUFFIXES or place.name in _SOURCE_NAMES

"""The names of failing tests, read from the output of common test runners.

The output is that of code which a model may have written: lines are cut, names are counted, and every pattern matches a
line from its beginning in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from autoroute.patterns import pattern
from autoroute.text import truncate

MAX_NAMES = 500
_MAX_LINES = 400_000
_MAX_LINE_CHARACTERS = 400
_MAX_NAME_CHARACTERS = 300
_MAX_DIGITS = 9
_ESCAPES = pattern(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class FailingTests:
    """The failing tests that an output names.

    ``unloaded`` are files of tests that could not be loaded, which count as failing too. ``complete`` is false when
    there were more names than are kept, when a runner counts more failing tests than it names, or when it says that it
    stopped before it had run every test.
    """

    runners: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Form:
    """A line with which a runner names a failing test. The first group is the name, a second one a class or file."""

    runner: str
    pattern: re.Pattern[str]
    unloaded: bool = False
    name: Callable[[re.Match[str]], str] = lambda found: found[1]


def _unittest_name(found: re.Match[str]) -> str:
    """Return ``module.Class.test``: since Python 3.11 the part in parentheses ends with the name of the test."""
    test, place = found[1], found[2]
    return place if place.endswith(f".{test}") else f"{place}.{test}"


def _pytest_name(found: re.Match[str]) -> str:
    return found[1].partition(" - ")[0]


_FORMS = (
    _Form("pytest", pattern(r"(?:FAILED|ERROR|SUBFAIL\S*) (\S+::.*)"), name=_pytest_name),
    _Form("pytest", pattern(r"ERROR (\S+\.py)(?: - .*)?$"), unloaded=True),
    _Form("unittest", pattern(r"ERROR: (\S+) \(unittest\.loader\._FailedTest"), unloaded=True),
    _Form("unittest", pattern(r"(?:FAIL|ERROR): (\S+) \(([\w.]+)\)"), name=_unittest_name),
    _Form("go test", pattern(r" *--- FAIL: (\S+) \(")),
    _Form("go test", pattern(r"FAIL\t(\S+) \[(?:build|setup) failed\]"), unloaded=True),
    _Form("cargo test", pattern(r"test (\S+)(?: - should panic)? \.\.\. FAILED$")),
    _Form("jest", pattern(r" {2}● (?!Test suite failed|Console)(.+)$")),
    _Form("jest", pattern(r"FAIL (\S+\.[cm]?[jt]sx?)(?: \(.*\))?$")),
    _Form("vitest", pattern(r" +FAIL +(\S+\.[cm]?[jt]sx?(?: > .+)?)$")),
    _Form("node --test", pattern(r" *not ok \d+ - (?!.* # (?:TODO|SKIP|todo|skip))(.+)$")),
    _Form("node --test", pattern(r" *✖ (.+) \(\d[\d.]*ms\)$")),
    _Form("mocha", pattern(r" {2}\d{1,6}\) (.+):$")),
    _Form("ctest", pattern(r"\s*\d{1,6} - (\S+) \((?:Failed|Timeout|SEGFAULT|Subprocess aborted|Not Run)\)")),
    _Form("maven", pattern(r"\[ERROR\] {3}(\w[\w.$]*)(?:\[\S*\])?(?::\d+| »)")),
    _Form("gradle", pattern(r"(\S+) > (.+?)(?:\(\))? FAILED$"), name=lambda found: f"{found[1]}.{found[2]}"),
)
_BEGINNINGS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "mocha": pattern(r" {2}\d+ failing$"),
        "ctest": pattern(r"The following tests FAILED:"),
        "jest": pattern(r"FAIL \S"),
    }
)
"""Runner -> the line that must come first: its forms alone may be any numbered list or bullet."""
_STOPPED = pattern(r"!+ (?:stopping after|_pytest|xdist|Interrupted|KeyboardInterrupt)|Bail out!")
_MOCHA_ITEM = pattern(r" {2}\d{1,6}\) ")
_MAX_TITLES = 20
"""How many lines mocha takes for the titles of one test: a line for each suite around it."""
_CLAIMS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "pytest": pattern(r"(?:=+ )?(?=.* in [\d.]+s)(?:(\d+) failed)?(?:.*?(\d+) errors?\b)?"),
        "unittest": pattern(r"FAILED \((?:failures=(\d+))?(?:, )?(?:errors=(\d+))?"),
    }
)
"""Runner -> the line that counts the failing tests, beside those that it names."""
FAILED_CODES: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        **dict.fromkeys(("pytest", "unittest", "go test", "jest", "vitest", "node --test"), frozenset({1})),
        "cargo test": frozenset({101}),
        "mocha": frozenset(range(1, 256)),
        "ctest": frozenset({8}),
    }
)
"""Runner -> the exit codes with which it says that tests failed, and nothing worse.

Maven and Gradle have none: at a failure they leave out what comes after it.
"""
_CALLS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "pytest": pattern(r"\bpytest\b|\bpy\.test\b"),
        "unittest": pattern(r"\bunittest\b"),
        "go test": pattern(r"\bgo test\b"),
        "cargo test": pattern(r"\bcargo test\b.* --no-fail-fast\b"),
        "jest": pattern(r"\bjest\b"),
        "vitest": pattern(r"\bvitest\b"),
        "node --test": pattern(r"\bnode\b.* --test\b"),
        "mocha": pattern(r"\bmocha\b"),
        "ctest": pattern(r"\bctest\b"),
    }
)
_SINGLE_COMMAND = pattern(r"(?:cd [^;&|<>`$()\n]+ && )?[^;&|<>`$()\n]+")
_STOPS_EARLY = pattern(r"\s(?:-x|--exitfirst|--maxfail\S*|-f|--failfast|-failfast|--bail\S*|-b|--stop-on-failure)\b")


def find_failing_tests(output: str) -> FailingTests:
    """Return the failing tests that an output names, each once, in order."""
    names: dict[str, None] = {}
    unloaded: dict[str, None] = {}
    runners: dict[str, None] = {}
    begun: set[str] = set()
    complete, named, claimed = True, 0, 0
    for number, line in enumerate(_lines(output)):
        if number >= _MAX_LINES or len(names) >= MAX_NAMES:
            complete = False
            break
        complete = complete and not _STOPPED.match(line)
        claimed = max([claimed, *(_count(claim.match(line)) for claim in _CLAIMS.values())])
        begun |= {runner for runner, beginning in _BEGINNINGS.items() if beginning.match(line)}
        for form in _FORMS:
            if form.runner in _BEGINNINGS and form.runner not in begun:
                continue
            found = form.pattern.match(line)
            if found is None:
                continue
            name = truncate(" ".join(form.name(found).split()), _MAX_NAME_CHARACTERS)
            runners[form.runner] = None
            named += 1
            names[name] = None
            if form.unloaded:
                unloaded[name] = None
            break
    return FailingTests(tuple(runners), tuple(names), tuple(unloaded), complete and claimed <= named)


def _count(claim: re.Match[str] | None) -> int:
    return sum(int(number[:_MAX_DIGITS]) for number in claim.groups() if number) if claim else 0


def is_single_test_run(command: str, runner: str) -> bool:
    """Return whether a command is one call of this runner that runs every test, and nothing beside it.

    Only then do the failing tests that it names say all about its exit code.
    """
    call = _CALLS.get(runner)
    return bool(
        call
        and call.search(command)
        and _SINGLE_COMMAND.fullmatch(command.strip())
        and not _STOPS_EARLY.search(command)
    )


def _lines(output: str) -> Iterator[str]:
    """Yield the lines, cut and without colors; what mocha breaks into a line for each suite is one line."""
    titles: list[str] = []
    for raw in output.split("\n"):
        line = _ESCAPES.sub("", raw[:_MAX_LINE_CHARACTERS]).rstrip()
        if _MOCHA_ITEM.match(line):
            titles = [line]
        elif titles and line.startswith("    ") and len(titles) < _MAX_TITLES:
            titles.append(line.strip())
        else:
            titles = []
        if titles and line.endswith(":"):
            yield " > ".join(titles)
            titles = []
        else:
            yield line

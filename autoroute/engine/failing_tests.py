"""The names of failing tests, read from the output of common test runners.

The output is that of code which a model may have written: lines are cut, names are counted, and every pattern matches a
line from its beginning in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from autoroute.text import truncate

MAX_NAMES = 500
_MAX_LINES = 400_000
_MAX_LINE_CHARACTERS = 400
_MAX_NAME_CHARACTERS = 300
_MAX_DIGITS = 9
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


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
    _Form("pytest", re.compile(r"(?:FAILED|ERROR|SUBFAIL\S*) (\S+::.*)"), name=_pytest_name),
    _Form("pytest", re.compile(r"ERROR (\S+\.py)(?: - .*)?$"), unloaded=True),
    _Form("unittest", re.compile(r"ERROR: (\S+) \(unittest\.loader\._FailedTest"), unloaded=True),
    _Form("unittest", re.compile(r"(?:FAIL|ERROR): (\S+) \(([\w.]+)\)"), name=_unittest_name),
    _Form("go test", re.compile(r" *--- FAIL: (\S+) \(")),
    _Form("go test", re.compile(r"FAIL\t(\S+) \[(?:build|setup) failed\]"), unloaded=True),
    _Form("cargo test", re.compile(r"test (\S+)(?: - should panic)? \.\.\. FAILED$")),
    _Form("jest", re.compile(r" {2}● (?!Test suite failed|Console)(.+)$")),
    _Form("jest", re.compile(r"FAIL (\S+\.[cm]?[jt]sx?)(?: \(.*\))?$")),
    _Form("vitest", re.compile(r" +FAIL +(\S+\.[cm]?[jt]sx?(?: > .+)?)$")),
    _Form("node --test", re.compile(r" *not ok \d+ - (?!.* # (?:TODO|SKIP|todo|skip))(.+)$")),
    _Form("node --test", re.compile(r" *✖ (.+) \(\d[\d.]*ms\)$")),
    _Form("mocha", re.compile(r" {2}\d{1,6}\) (.+):$")),
    _Form("ctest", re.compile(r"\s*\d{1,6} - (\S+) \((?:Failed|Timeout|SEGFAULT|Subprocess aborted|Not Run)\)")),
    _Form("maven", re.compile(r"\[ERROR\] {3}(\w[\w.$]*)(?:\[\S*\])?(?::\d+| »)")),
    _Form("gradle", re.compile(r"(\S+) > (.+?)(?:\(\))? FAILED$"), name=lambda found: f"{found[1]}.{found[2]}"),
)
_BEGINNINGS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "mocha": re.compile(r" {2}\d+ failing$"),
        "ctest": re.compile(r"The following tests FAILED:"),
        "jest": re.compile(r"FAIL \S"),
    }
)
"""Runner -> the line that must come first: its forms alone may be any numbered list or bullet."""
_STOPPED = re.compile(r"!+ (?:stopping after|_pytest|xdist|Interrupted|KeyboardInterrupt)|Bail out!")
_MOCHA_ITEM = re.compile(r" {2}\d{1,6}\) ")
_MAX_TITLES = 20
"""How many lines mocha takes for the titles of one test: a line for each suite around it."""
_CLAIMS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "pytest": re.compile(r"(?:=+ )?(?=.* in [\d.]+s)(?:(\d+) failed)?(?:.*?(\d+) errors?\b)?"),
        "unittest": re.compile(r"FAILED \((?:failures=(\d+))?(?:, )?(?:errors=(\d+))?"),
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
        "pytest": re.compile(r"\bpytest\b|\bpy\.test\b"),
        "unittest": re.compile(r"\bunittest\b"),
        "go test": re.compile(r"\bgo test\b"),
        "cargo test": re.compile(r"\bcargo test\b.* --no-fail-fast\b"),
        "jest": re.compile(r"\bjest\b"),
        "vitest": re.compile(r"\bvitest\b"),
        "node --test": re.compile(r"\bnode\b.* --test\b"),
        "mocha": re.compile(r"\bmocha\b"),
        "ctest": re.compile(r"\bctest\b"),
    }
)
_SINGLE_COMMAND = re.compile(r"(?:cd [^;&|<>`$()\n]+ && )?[^;&|<>`$()\n]+")
_STOPS_EARLY = re.compile(r"\s(?:-x|--exitfirst|--maxfail\S*|-f|--failfast|-failfast|--bail\S*|-b|--stop-on-failure)\b")


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

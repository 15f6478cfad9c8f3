"""What the result of a verify command means: a table from exit codes and messages of common tools to a kind.

A command *cannot run* when its environment is to blame, not the code: a missing program or module, no network, a limit
of autoroute. What the repository contains, or the plan will create, is never missing in that sense.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType

from autoroute.engine.failing_tests import FailingTests
from autoroute.events import CommandKind
from autoroute.patterns import pattern
from autoroute.text import join_first

_MAX_SCANNED_CHARACTERS = 200_000
_MAX_LINE_CHARACTERS = 400
_MAX_NAMES_LISTED = 10
_MIN_STEM_CHARACTERS = 3
_GENERIC_STEMS = frozenset({"__init__", "__main__", "index", "main", "mod", "lib", "conftest", "test", "tests", "src"})
"""Names of files that say nothing about what is in them: their folder does."""


@dataclass(frozen=True)
class Surroundings:
    """What a command is judged by beside its result.

    ``paths`` are the files of the repository, ``planned`` those that the plan names. ``timeout`` is the limit of a
    verify command in seconds.
    """

    paths: Sequence[str] = ()
    planned: Sequence[str] = ()
    timeout: float = 900.0

    def has(self, name: str) -> bool:
        """Return whether the repository or the plan has a file, folder or module of this name."""
        name = name.strip("'\"").rstrip("/.").removeprefix("./").replace("\\", "/")
        tail = name.rpartition("/")[2]
        return tail in self._names or tail.rpartition(".")[0] in self._names

    def plans(self, path: str) -> bool:
        """Return whether the plan names this file, or a folder that it is in."""
        path = path.strip("'\"").removeprefix("./").partition("::")[0].rstrip("/")
        files = [file.removeprefix("./").rstrip("/") for file in self.planned]
        return any(
            file == path or path.startswith(f"{file}/") or file.startswith(f"{path}/") or path.endswith(f"/{file}")
            for file in files
        )

    def plans_tests(self) -> bool:
        """Return whether the plan names a file that looks like a test."""
        return any(re.search(r"(?:^|[/_.-])(?:tests?|specs?)(?:[/_.-]|$)|Tests?\.\w+$", file) for file in self.planned)

    def is_related(self, test: str) -> bool:
        """Return whether a test seems to be about the files of the plan: ``test_ledger`` is, about ``ledger.py``."""
        place = test.partition("::")[0]
        return self.plans(place) or any(stem in test.lower() for stem in self._stems)

    @cached_property
    def _names(self) -> frozenset[str]:
        paths = [PurePosixPath(path) for path in (*self.paths, *self.planned)]
        names = {part for path in paths for part in path.parts}
        return frozenset(names | {path.stem for path in paths})

    @cached_property
    def _stems(self) -> frozenset[str]:
        stems = set()
        for path in map(PurePosixPath, self.planned):
            stem = path.name.partition(".")[0].lower()
            stems.add(path.parent.name.lower() if stem in _GENERIC_STEMS else stem)
            stems.add(re.sub(r"^test_?|_?tests?$|_?spec$", "", stem))
        return frozenset(stem for stem in stems if len(stem) >= _MIN_STEM_CHARACTERS and stem not in _GENERIC_STEMS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command's result means. ``reason`` and ``hint`` are "" where nothing is wrong with the command.

    ``failing`` are the tests that failed, ``outside`` those among them that are not about the task.
    """

    kind: CommandKind
    reason: str = ""
    hint: str = ""
    failing: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    """A message that shows why a command cannot run.

    ``pattern`` is searched in the output; its group, if it has one, is what is missing. ``codes`` are the exit codes
    that it needs, None for any. ``unless`` says that the repository or the plan has what is missing. A row that is
    ``decisive`` holds even where tests failed, if each of them can have failed for it.
    """

    pattern: re.Pattern[str]
    reason: str
    hint: str
    codes: frozenset[int] | None = None
    unless: Callable[[Surroundings, str], bool] = field(default=lambda _surroundings, _missing: False)
    decisive: bool = False


def _has(surroundings: Surroundings, missing: str) -> bool:
    return surroundings.has(missing)


def _has_module(surroundings: Surroundings, missing: str) -> bool:
    return surroundings.has(missing.partition(".")[0])


def _has_package(surroundings: Surroundings, missing: str) -> bool:
    # A path is a file of the project: only one that neither exists nor is planned is missing.
    if missing.startswith(("./", "../")):
        return True
    return missing.startswith("/") and (surroundings.has(missing) or not surroundings.paths)


def _has_file(surroundings: Surroundings, missing: str) -> bool:
    # In an empty repository every file has yet to be made.
    return not surroundings.paths or surroundings.plans(missing) or surroundings.has(missing)


def _has_program(surroundings: Surroundings, missing: str) -> bool:
    return "/" in missing and _has_file(surroundings, missing)


def _plans_tests(surroundings: Surroundings, missing: str) -> bool:
    return not surroundings.paths or (surroundings.plans(missing) if missing else surroundings.plans_tests())


_SETUP = '--setup "COMMAND"'
_INSTALL = f"install it where commands run, with {_SETUP}, or have the plan use what is there"
_PLAN = "correct the command in the plan"
_Q = "[\"'‘`]?"
_NAME = r"([^\s\"'’`:;,()]{1,200})"


def _find(expression: str) -> re.Pattern[str]:
    return pattern(expression, re.MULTILINE)


_ROWS = (
    _Row(
        _find(r"^\[stopped: it ran more than (\d+) processes at once\]"),
        "it ran more than {0} processes at once, which is autoroute's own limit",
        "raise sandbox.processes in your settings, or have the command use fewer workers",
        decisive=True,
    ),
    _Row(
        _find(r"^\[stopped: (?:it used )?more than ([\d.]+ GiB) of memory"),
        "it used more than {0} of memory, which is autoroute's own limit",
        "raise sandbox.memory in your settings, or have the command use less",
        decisive=True,
    ),
    _Row(
        _find(r"the user did not allow this command to run"),
        "it was not allowed to run: no sandbox works here, and each command needs approval",
        "install bubblewrap, or allow the command when you are asked",
        frozenset({126}),
    ),
    _Row(
        _find(r"File size limit exceeded|File too large|\bEFBIG\b|SIGXFSZ"),
        "it wrote a file larger than autoroute's own limit",
        "raise sandbox.file_size in your settings",
        decisive=True,
    ),
    _Row(
        _find(
            r"fork: (?:retry: )?(?:Resource temporarily unavailable|Cannot allocate)|[Cc]annot fork"
            r"|can't start new thread|BlockingIOError: \[Errno 11\]|spawn \S+ EAGAIN|pthread_create failed.*EAGAIN"
        ),
        "it could not start a process or thread: the limit of processes, which is autoroute's own, is reached",
        "raise sandbox.processes in your settings, or have the command use fewer workers",
        decisive=True,
    ),
    _Row(
        _find(r"Too many open files|\bEMFILE\b"),
        "it opened more files at once than autoroute's own limit of 4096 for a process",
        "have the command use fewer workers",
        decisive=True,
    ),
    _Row(
        _find(r"No space left on device|\bENOSPC\b"),
        "the disk, or the folder for temporary files that autoroute limits to 2 GiB, is full",
        "free some space, or have the command write inside the project",
        decisive=True,
    ),
    _Row(
        _find(
            r"(?:Could not resolve(?: host)?|[Cc]ould not resolve host:?|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)"
            r"|Failed to resolve|unable to resolve host|dial tcp: lookup|UnknownHostException:)"
            rf" ?{_Q}(?:address )?([\w.-]+\.[A-Za-z]{{2,}})?"
        ),
        "it needs the network, which commands do not have: {0}",
        "allow it with --network HOST:PORT, or fetch what it needs with " + _SETUP,
        decisive=True,
    ),
    _Row(
        _find(
            r"Temporary failure in name resolution|Name or service not known|nodename nor servname"
            r"|Network is unreachable"
            r"|\bENETUNREACH\b|\bEAI_AGAIN\b|\bENOTFOUND\b|Name does not resolve|No route to host"
            r"|in offline mode|spurious network error"
        ),
        "it needs the network, which commands do not have",
        "allow it with --network HOST:PORT, or fetch what it needs with " + _SETUP,
        decisive=True,
    ),
    _Row(
        _find(r"Read-only file system(?:: '?([^'\s]+))?|\bEROFS\b"),
        "it writes to a place that is read-only in the sandbox {0}",
        "have it write inside the project or its home folder, or prepare that place with " + _SETUP,
        decisive=True,
    ),
    _Row(
        _find(
            r"listen EPERM|connect EPERM|EPERM: operation not permitted, listen|socket: [Oo]peration not permitted"
            r"|socket\.py[^\n]*\n(?:[^\n]*\n){0,6}?[^\n]*PermissionError: \[Errno 1\]"
            r"|in (?:_?socket|bind|create_connection|create_server)\n(?:[^\n]*\n){0,4}?[^\n]*PermissionError"
            r"|socket\.socket\([^\n]*\n(?:[^\n]*\n){0,3}?[^\n]*PermissionError"
        ),
        "it opens a network socket, which the sandbox of this machine refuses",
        "install bubblewrap, whose sandbox gives commands a network of their own",
        decisive=True,
    ),
    _Row(
        _find(rf"\bcd: (?:can't cd to |line \d+: )?{_NAME}(?:: No such file or directory|: Not a directory)?\s*$"),
        "it changes to the folder {0}, which does not exist",
        f"{_PLAN}: commands start at the root of the repository",
        unless=_has_file,
    ),
    _Row(
        _find(r"^(?:\S+: )?(?:\d+: |line \d+: )?(\$): (?:not found|command not found)"),
        "it begins with `$ `, the prompt of a shell, which is not part of a command",
        _PLAN,
    ),
    _Row(
        _find(rf"^(?:sh|\S*/\w*sh): 0: cannot open {_NAME}: No such file|can't open file {_Q}{_NAME}"),
        "it runs the file {0}, which neither the repository nor the plan has",
        _PLAN,
        unless=_has_file,
    ),
    _Row(
        _find(
            rf"^\S*sh: (?:\d+: |line \d+: )?{_NAME}: (?:command )?not found$|^env: {_Q}{_NAME}[\"'’`]?: No such"
            rf"|^make: {_NAME}: (?:Command not found|No such file or directory)$|^exec: {_NAME}: not found$"
            rf"|^error: no such command: {_Q}{_NAME}"
        ),
        "the program {0} is not installed where commands run",
        _INSTALL,
        unless=_has_program,
    ),
    _Row(
        _find(rf"^\S*sh: (?:\d+: |line \d+: )?{_NAME}: Permission denied$"),
        "{0} is not executable",
        f"{_PLAN}: run it with its interpreter, as in sh FILE",
        frozenset({126}),
        unless=lambda surroundings, missing: surroundings.plans(missing),
    ),
    _Row(
        _find(rf"No module named {_Q}([\w.]+)"),
        "the Python module {0} is not installed where commands run",
        _INSTALL,
        unless=_has_module,
    ),
    _Row(
        _find(rf"(?:Cannot find (?:module|package)|Can't resolve|Failed to resolve import) {_Q}([^\s\"'`]+)"),
        "the package or file {0} is missing where commands run: node_modules does not have it",
        'install the packages, with --setup "npm ci" or the command of your package manager',
        unless=_has_package,
    ),
    _Row(
        _find(
            r"node_modules[^\n]{0,80}(?:not found|missing|does not exist)|Local package\.json exists, but node_modules"
        ),
        "node_modules is missing where commands run",
        'install the packages, with --setup "npm ci" or the command of your package manager',
    ),
    _Row(
        _find(r"no required module provides package ([^\s;:]+)|cannot find module providing package ([^\s;:]+)"),
        "the Go package {0} is missing where commands run",
        _INSTALL,
    ),
    _Row(
        _find(r"cannot load such file -- (\S+)|Could not find gem '([^']+)'"),
        "the Ruby library {0} is not installed where commands run",
        _INSTALL,
        unless=_has_module,
    ),
    _Row(
        _find(r"fatal error: ([\w./+-]+\.h\w*): No such file or directory"),
        "the header {0} is not installed where commands run",
        _INSTALL,
        unless=_has,
    ),
    _Row(
        _find(rf"ERROR: (?:file or directory )?not found: {_NAME}"),
        "it runs the tests in {0}, which neither the repository nor the plan has",
        _PLAN,
        frozenset({4}),
        unless=_plans_tests,
    ),
    _Row(
        _find(
            r"no tests ran|^=* ?\d+ deselected in |collected 0 items|NO TESTS RAN|Ran 0 tests|No tests found"
            r"|No test files found"
            r"|No tests were found|no test files|Could not find '[^'\n]*'"
        ),
        "it found no tests to run",
        f"{_PLAN}, or name the files of the tests that the plan will create",
        unless=_plans_tests,
    ),
    _Row(
        _find(r"Missing script: \"?([\w:.-]+)|[Cc]ommand \"([\w:.-]+)\" not found"),
        "package.json has no script {0}",
        _PLAN,
        unless=lambda surroundings, _missing: surroundings.plans("package.json"),
    ),
    _Row(
        _find(r"No rule to make target '?([^'\s]+)|(No targets specified and no makefile found)"),
        "make has no target {0}",
        _PLAN,
        unless=lambda surroundings, _missing: any(re.search(r"akefile|\.mk$", file) for file in surroundings.planned),
    ),
    _Row(
        _find(
            r"ENOENT[^\n]*/(package\.json)|[Nn]o (pyproject\.toml|Cargo\.toml|go\.mod|pom\.xml)"
            r"|(go\.mod) file not found|could not find `?(Cargo\.toml)"
        ),
        "{0} does not exist",
        _PLAN,
        unless=_has_file,
    ),
)
"""The first row that applies gives the reason."""
_CODES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        126: ("the shell found the command and could not execute it (exit code 126)", _PLAN),
        127: ("the shell did not find a command of it (exit code 127)", _INSTALL),
        **dict.fromkeys(
            (-25, 153),
            (
                "it wrote a file larger than autoroute's own limit (SIGXFSZ)",
                "raise sandbox.file_size in your settings",
            ),
        ),
    }
)
"""Exit code -> reason and hint, where no message tells more."""


def sort_outcome(exit_code: int | None, output: str, tests: FailingTests, surroundings: Surroundings) -> Outcome:
    """Return what the result of a verify command means. ``exit_code`` is None for one that had to be stopped."""
    if exit_code == 0:
        return Outcome("passes")
    text = _scanned(output)
    failing = tuple(name for name in tests.names if name not in tests.unloaded)
    found = _find_obstacle(exit_code, text, len(failing), surroundings)
    if found is not None:
        return Outcome("cannot_run", *found, failing=tests.names)
    if exit_code is None:
        return Outcome(
            "hangs",
            f"it had not ended after {surroundings.timeout:.0f} s",
            "raise limits.verify_timeout if it only needs longer",
            failing=tests.names,
        )
    outside = tuple(name for name in tests.names if not surroundings.is_related(name))
    if outside:
        listed = join_first(outside, _MAX_NAMES_LISTED)
        return Outcome("fails_already", f"these tests fail before the task: {listed}", "", tests.names, outside)
    return Outcome("fails", failing=tests.names)


def _find_obstacle(
    exit_code: int | None, text: str, failing: int, surroundings: Surroundings
) -> tuple[str, str] | None:
    """Return why a command cannot run, and what to do about it; None where nothing shows that."""
    spared = False
    for row in _ROWS:
        if row.codes is not None and exit_code not in row.codes:
            continue
        matches = list(row.pattern.finditer(text))
        if not matches or (failing and not (row.decisive and len(matches) >= failing)):
            continue
        missing = [next(filter(None, found.groups()), "") for found in matches]
        lacking = [name for name in missing if not row.unless(surroundings, name)]
        if not lacking:
            spared = True
            continue
        return _format(row.reason, lacking), row.hint
    if failing or spared or exit_code is None:
        return None
    return _CODES.get(exit_code)


def _format(reason: str, missing: Iterable[str]) -> str:
    name = next(filter(None, missing), "")
    return reason.replace("{0}", name) if name else reason.replace(": {0}", "").replace(" {0}", "").replace("{0} ", "")


def _scanned(output: str) -> str:
    """Return what is searched: the beginning and the end, and of each line no more than a pattern may take time for."""
    half = _MAX_SCANNED_CHARACTERS // 2
    text = output if len(output) <= 2 * half else f"{output[:half]}\n{output[-half:]}"
    return "\n".join(line[:_MAX_LINE_CHARACTERS] for line in text.split("\n"))

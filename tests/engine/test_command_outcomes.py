"""What the result of a verify command means, by the output of real tools."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.engine.command_outcomes import Outcome, Surroundings, sort_outcome
from autoroute.engine.failing_tests import find_failing_tests

LEDGER = Surroundings(paths=("ledger.py", "test_ledger.py", "README.md"), planned=("ledger.py",))
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def sort(exit_code: int | None, output: str, surroundings: Surroundings = LEDGER) -> Outcome:
    return sort_outcome(exit_code, output, find_failing_tests(output), surroundings)


def run(command: str, folder: Path, surroundings: Surroundings = LEDGER) -> Outcome:
    """Run a command as a verify command runs, without a sandbox."""
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": PATH, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return sort(done.returncode, done.stdout, surroundings)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    (tmp_path / "ledger.py").write_text("def total(rows):\n    return 0\n")
    (tmp_path / "test_ledger.py").write_text(
        "import unittest, ledger\n"
        "class T(unittest.TestCase):\n"
        "    def test_total(self): self.assertEqual(ledger.total([3, 4]), 7)\n"
    )
    (tmp_path / "notes.sh").write_text("exit 0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program --version", "the program no-such-program is not installed"),
        ("true && no-such-program", "the program no-such-program is not installed"),
        ("env no-such-program", "the program no-such-program is not installed"),
        ("$ python3 -m unittest -q test_ledger", "begins with `$ `"),
        ("cd /no/such/folder && python3 -m unittest", "changes to the folder /no/such/folder"),
        ("python3 -m no_such_module", "the Python module no_such_module is not installed"),
        ("python3 -c 'import no_such_module'", "the Python module no_such_module is not installed"),
        ("python3 missing_script.py", "missing_script.py, which neither"),
        ("sh missing_script.sh", "the file missing_script.sh"),
        ("./missing_script.sh", "the program ./missing_script.sh is not installed"),
        ("./notes.sh", "./notes.sh is not executable"),
        ("python3 -m pytest -q -p no:cacheprovider test_missing.py", "the tests in test_missing.py"),
        ("python3 -m pytest -q -p no:cacheprovider -k nothing_of_this_name", "no tests to run"),
        ("python3 -m unittest -q test_missing", "the Python module test_missing"),
        ("exit 127", "exit code 127"),
        ("exit 153", "SIGXFSZ"),
        ('ulimit -f 1; python3 -c \'open("big", "wb").write(bytes(10**7))\'', "autoroute's own limit"),
        (
            'ulimit -n 8; python3 -c \'[open("ledger.py") for _ in range(9)]; x=list(map(open, ["ledger.py"]*9))\'',
            "more files",
        ),
    ],
)
def test_a_command_that_cannot_run_is_told_from_one_that_fails(ledger: Path, command: str, words: str) -> None:
    outcome = run(command, ledger)
    assert outcome.kind == "cannot_run", outcome
    assert words in outcome.reason
    assert outcome.hint


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("node -e 'require(\"no-such-package\")'", "no-such-package is missing"),
        ("node missing.js", "missing.js is missing"),
        ("node --input-type=module -e 'import \"no-such-package\"'", "no-such-package is missing"),
    ],
)
def test_packages_of_node_that_are_missing_are_named(ledger: Path, command: str, words: str) -> None:
    outcome = run(command, ledger)
    assert outcome.kind == "cannot_run", outcome
    assert words in outcome.reason


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_a_script_that_package_json_lacks_is_named(ledger: Path) -> None:
    (ledger / "package.json").write_text('{"name": "x", "scripts": {"test": "jest"}}')
    assert "no script check" in run("npm run check", ledger).reason
    assert "the program jest" in run("npm test", ledger).reason
    planned = Surroundings(("package.json",), ("package.json",))
    assert run("npm run check", ledger, planned).kind == "fails"


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_target_that_make_lacks_is_named_unless_the_plan_brings_it(ledger: Path) -> None:
    assert "target check" in run("make check", ledger).reason
    assert run("make check", ledger, Surroundings(("a.c",), ("Makefile",))).kind == "fails"


RECORDED = [
    (128, "fatal: unable to access 'https://x/': Could not resolve host: github.com\n", "network", "--network"),
    (1, "npm error code ENOTFOUND\nnpm error getaddrinfo ENOTFOUND registry.npmjs.org\n", "network", "--network"),
    (1, "npm error request failed, reason: getaddrinfo EAI_AGAIN registry.npmjs.org\n", "network", "--network"),
    (1, "socket.gaierror: [Errno -3] Temporary failure in name resolution\n", "network", "--network"),
    (
        101,
        "error: failed to get `serde` as a dependency\n  spurious network error (3 tries remaining)\n",
        "network",
        "--setup",
    ),
    (1, "dial tcp: lookup proxy.golang.org on 127.0.0.1:53: connection refused\n", "network", "--network"),
    (1, "OSError: [Errno 101] Network is unreachable\n", "network", "--network"),
    (1, "OSError: [Errno 30] Read-only file system: '/usr/lib/x'\n", "read-only in the sandbox /usr/lib/x", "--setup"),
    (1, "Error: EROFS: read-only file system, open '/x'\n", "read-only", "--setup"),
    (1, "Error: listen EPERM: operation not permitted 0.0.0.0:3000\n", "network socket", "bubblewrap"),
    (
        1,
        (
            '  File "/usr/lib/python3.11/socket.py", line 232, in __init__\n    _socket.socket.__init__(self, family)\n'
            "PermissionError: [Errno 1] Operation not permitted\n"
        ),
        "network socket",
        "bubblewrap",
    ),
    (
        None,
        "ok\n[stopped: it used more than 8.0 GiB of memory]\n",
        "8.0 GiB of memory, which is autoroute's own",
        "sandbox.memory",
    ),
    (None, "\n[stopped: it ran more than 512 processes at once]\n", "512 processes", "sandbox.processes"),
    (2, "sh: 1: Cannot fork\n", "limit of processes, which is autoroute's own", "sandbox.processes"),
    (1, "RuntimeError: can't start new thread\n", "autoroute's own", "sandbox.processes"),
    (1, "OSError: [Errno 27] File too large\n", "autoroute's own limit", "sandbox.file_size"),
    (1, "OSError: [Errno 28] No space left on device\n", "2 GiB", "free some space"),
    (126, "the user did not allow this command to run\n", "not allowed to run", "bubblewrap"),
    (
        1,
        "main.go:4:2: no required module provides package github.com/a/b; to add it:\n",
        "Go package github.com/a/b",
        "--setup",
    ),
    (1, "cannot load such file -- rspec (LoadError)\n", "Ruby library rspec", "--setup"),
    (1, "a.c:1:10: fatal error: zlib.h: No such file or directory\n", "header zlib.h", "--setup"),
    (1, "No tests found, exiting with code 1\n", "no tests to run", "plan"),
    (
        2,
        "make: pytest: No such file or directory\nmake: *** [Makefile:2: test] Error 127\n",
        "program pytest",
        "--setup",
    ),
    (101, "error: no such command: `nextest`\n", "program nextest", "--setup"),
]


@pytest.mark.parametrize(("code", "output", "words", "hint"), RECORDED)
def test_what_other_tools_print_is_known(code: int | None, output: str, words: str, hint: str) -> None:
    outcome = sort(code, output)
    assert outcome.kind == "cannot_run", outcome
    assert words in outcome.reason
    assert hint in outcome.hint


def test_what_the_plan_creates_is_not_missing(ledger: Path) -> None:
    plan = Surroundings(LEDGER.paths, ("src/bank/new.py", "tests/test_new.py", "tools/check.sh", "web/app.js"))
    for command in (
        "python3 -m bank",
        "python3 -c 'import bank.new'",
        "python3 -m unittest -q test_new",
        "python3 -m pytest -q -p no:cacheprovider tests/test_new.py",
        "python3 -m pytest -q -p no:cacheprovider -k nothing_of_this_name",
        "./tools/check.sh",
        "sh tools/check.sh",
        "cd web && ls",
    ):
        assert run(command, ledger, plan).kind == "fails", command


def test_a_module_of_the_repository_is_not_missing(ledger: Path) -> None:
    assert run("cd / && python3 -m ledger", ledger).kind == "fails"
    assert sort(1, "Error: Cannot find module './lib/x'\n").kind == "fails"


def test_in_an_empty_repository_programs_are_missing_and_files_are_not(tmp_path: Path) -> None:
    empty = Surroundings()
    assert run("python3 -m pytest -q -p no:cacheprovider", tmp_path, empty).kind == "fails"
    assert run("sh check.sh", tmp_path, empty).kind == "fails"
    assert run("cd web && ls", tmp_path, empty).kind == "fails"
    assert run("no-such-program", tmp_path, empty).kind == "cannot_run"
    assert run("python3 -m no_such_module", tmp_path, empty).kind == "cannot_run"


def test_a_test_of_the_task_fails_as_it_should(ledger: Path) -> None:
    outcome = run("python3 -m unittest -q test_ledger", ledger)
    assert (outcome.kind, outcome.failing) == ("fails", ("test_ledger.T.test_total",))


def test_a_test_of_something_else_fails_already(ledger: Path) -> None:
    (ledger / "test_other.py").write_text("def test_a(): assert 0\ndef test_b(): pass\n")
    outcome = run("python3 -m pytest -q -p no:cacheprovider", ledger)
    assert outcome.kind == "fails_already"
    assert outcome.outside == ("test_other.py::test_a",)
    assert set(outcome.failing) == {"test_ledger.py::T::test_total", "test_other.py::test_a"}
    assert "test_other.py::test_a" in outcome.reason


def test_failing_tests_that_print_of_the_network_are_failing_tests() -> None:
    output = "Network is unreachable\nFAILED test_ledger.py::a\nFAILED test_ledger.py::b\n2 failed in 1s\n"
    assert sort(1, output).kind == "fails"


def test_tests_that_all_fail_for_the_network_cannot_run() -> None:
    output = "E  OSError: Network is unreachable\nFAILED test_ledger.py::a\n1 failed in 1s\n"
    assert sort(1, output).kind == "cannot_run"


def test_a_command_without_end_hangs_and_names_the_setting() -> None:
    outcome = sort(None, "working\n")
    assert (outcome.kind, outcome.reason) == ("hangs", "it had not ended after 900 s")
    assert "limits.verify_timeout" in outcome.hint


@pytest.mark.parametrize("code", [1, 2, 3, -signal.SIGTERM])
def test_any_other_failure_fails(code: int) -> None:
    assert sort(code, "assertion failed\n") == Outcome("fails")


def test_exit_code_0_passes_whatever_is_printed() -> None:
    assert sort(0, "sh: 1: x: not found\n") == Outcome("passes")


@given(st.one_of(st.none(), st.integers(-64, 255)), st.text(max_size=1_000))
def test_any_result_has_a_kind(code: int | None, output: str) -> None:
    outcome = sort(code, output)
    assert outcome.kind in ("fails", "passes", "fails_already", "cannot_run", "hangs")
    assert bool(outcome.reason) == (outcome.kind not in ("fails", "passes"))


@pytest.mark.parametrize(
    "piece", ["socket.py ", "ENOENT", "sh: ", "No module named '", "node_modules", "in bind\n", "x\n"]
)
def test_hostile_output_takes_no_long_time(piece: str) -> None:
    started = time.process_time()
    sort(1, piece * (100_000 // len(piece)))
    assert time.process_time() - started < 5

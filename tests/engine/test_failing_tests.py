"""Names of failing tests, from what test runners print."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.engine.failing_tests import MAX_NAMES, find_failing_tests, is_single_test_run

RECORDED = {
    "pytest": (
        (
            "=========================== short test summary info ============================\n"
            "FAILED tests/test_a.py::T::test_e[a b] - ValueError: no\n"
            "SUBFAILED(i=1) tests/test_a.py::T::test_s - AssertionError: sub\n"
            "ERROR tests/test_b.py::test_f - fixture 'x' not found\n"
            "2 failed, 1 passed, 1 error in 7.94s\n"
        ),
        ("tests/test_a.py::T::test_e[a b]", "tests/test_a.py::T::test_s", "tests/test_b.py::test_f"),
    ),
    "go test": (
        "=== RUN   TestTotal\n--- FAIL: TestTotal (0.00s)\n    --- FAIL: TestTotal/empty (0.00s)\nFAIL\nexit status 1\n",
        ("TestTotal", "TestTotal/empty"),
    ),
    "cargo test": (
        (
            "running 2 tests\ntest tests::adds ... FAILED\ntest tests::ok ... ok\n\nfailures:\n    tests::adds\n"
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
        ),
        ("tests::adds",),
    ),
    "jest": (
        "FAIL src/sum.test.js\n  sum\n    ✕ adds (2 ms)\n\n  ● sum › adds\n\n    expect(received).toBe(expected)\n",
        ("src/sum.test.js", "sum › adds"),
    ),
    "vitest": (
        " FAIL  src/sum.test.ts > sum > adds\nAssertionError: expected 1 to be 2\n",
        ("src/sum.test.ts > sum > adds",),
    ),
    "mocha": (
        (
            "  1 passing (5ms)\n  2 failing\n\n  1) Array\n       #indexOf()\n         returns -1:\n     Error: x\n"
            "      at Context.<anonymous>\n\n  2) Array\n       grows:\n"
        ),
        ("Array > #indexOf() > returns -1", "Array > grows"),
    ),
    "ctest": (
        "50% tests passed, 1 tests failed out of 2\n\nThe following tests FAILED:\n\t  2 - total (Failed)\n",
        ("total",),
    ),
    "maven": (
        (
            "[ERROR] Failures: \n[ERROR]   LedgerTest.total:9 expected: <7> but was: <0>\n"
            "[ERROR] Errors: \n[ERROR]   LedgerTest.empty » NullPointer\n"
        ),
        ("LedgerTest.total", "LedgerTest.empty"),
    ),
    "gradle": ("LedgerTest > total() FAILED\n    java.lang.AssertionError\n", ("LedgerTest.total",)),
    "node --test": (
        "TAP version 13\nnot ok 1 - adds up\n    not ok 1 - inner fails\nnot ok 2 - later # TODO\nok 3 - fine\n",
        ("adds up", "inner fails"),
    ),
}


@pytest.mark.parametrize("runner", RECORDED)
def test_the_failing_tests_of_a_runner_are_named(runner: str) -> None:
    output, names = RECORDED[runner]
    found = find_failing_tests(output)
    assert (found.runners, found.names, found.complete) == ((runner,), names, True)


def test_unittest_names_module_class_and_test(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import unittest\n"
        "class T(unittest.TestCase):\n"
        "    def test_x(self): self.assertEqual(1, 2)\n"
        "    def test_e(self): raise ValueError('no')\n"
        "    def test_ok(self): pass\n"
    )
    run = [sys.executable, "-m", "unittest", "-q", "test_a", "test_none"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = find_failing_tests(done.stdout + done.stderr)
    assert found.runners == ("unittest",)
    assert set(found.names) == {"test_a.T.test_x", "test_a.T.test_e", "test_none"}
    assert found.unloaded == ("test_none",)
    assert found.complete


def test_pytest_names_node_ids(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_x(): assert 0\ndef test_y(): assert 0\ndef test_z(): pass\n")
    (tmp_path / "test_b.py").write_text("import nothing_of_this_name\n")

    def run(*arguments: str) -> str:
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    assert find_failing_tests(run("test_a.py")).names == ("test_a.py::test_x", "test_a.py::test_y")
    assert find_failing_tests(run("test_b.py")).unloaded == ("test_b.py",)
    assert not find_failing_tests(run("-x", "test_a.py")).complete


def test_a_runner_that_counts_more_failures_than_it_names_is_incomplete() -> None:
    assert not find_failing_tests("FAILED a.py::test_x - no\n3 failed in 0.1s\n").complete


def test_a_numbered_list_without_a_runner_names_no_test() -> None:
    assert find_failing_tests("  1) buy milk:\n  ● a bullet\n").names == ()


@given(st.text(max_size=2_000))
def test_any_output_is_read(output: str) -> None:
    assert len(find_failing_tests(output).names) <= MAX_NAMES


@pytest.mark.parametrize(
    "piece", ["FAILED a::: - ", "not ok 1 - # ", "  1) x\n    ", "● a › ", "FAIL a.js ( ", "x > y FAILED "]
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_hostile_output_takes_no_long_time(piece: str, end: str) -> None:
    started = time.process_time()
    find_failing_tests("  1 failing\nFAIL x.js\n" + (piece + end) * (100_000 // len(piece)))
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("command", "runner", "single"),
    [
        ("python3 -m pytest -q tests", "pytest", True),
        ("cd api && PYTHONPATH=src pytest -q", "pytest", True),
        ("pytest -q; ./lint", "pytest", False),
        ("pytest -q && mypy", "pytest", False),
        ("pytest -q | tail -5", "pytest", False),
        ("pytest -q -x", "pytest", False),
        ("pytest --maxfail=1", "pytest", False),
        ("python3 -m unittest -f", "unittest", False),
        ("npm test", "jest", False),
        ("npx jest --bail", "jest", False),
        ("cargo test", "cargo test", False),
        ("cargo test --no-fail-fast", "cargo test", True),
        ("mvn test", "maven", False),
        ("pytest `echo a`", "pytest", False),
    ],
)
def test_known_failures_count_for_one_whole_run_of_a_runner(command: str, runner: str, single: bool) -> None:
    assert is_single_test_run(command, runner) is single

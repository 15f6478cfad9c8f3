"""Signals cancel a run, at whatever point of the program they arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from autoroute.cli.signals import Cancellation
from autoroute.errors import Cancelled, ExitCode

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
LIMIT_SECONDS = 30


class RunsWhenDeleted:
    """Runs something when it is deleted: in a finalizer, where Python prints an error and continues."""

    def __init__(self, last: Callable[[], None]) -> None:
        self._last = last

    def __del__(self) -> None:
        self._last()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def in_a_finalizer() -> None:
    dying = RunsWhenDeleted(interrupt)
    del dying


def in_a_weakref_callback() -> None:
    class Held:
        pass

    held = Held()
    weakref.finalize(held, interrupt)
    del held


def run_until_cancelled_by(signalled: Callable[[], None]) -> None:
    with Cancellation():
        signalled()
        threading.Event().wait(LIMIT_SECONDS)


@pytest.mark.parametrize("signalled", [interrupt, in_a_finalizer, in_a_weakref_callback])
def test_a_cancellation_is_raised_even_if_it_comes_where_python_drops_errors(signalled: Callable[[], None]) -> None:
    with pytest.raises(Cancelled) as raised:
        run_until_cancelled_by(signalled)
    assert raised.value.exit_code == ExitCode.INTERRUPTED


def test_a_cancellation_waits_for_the_end_of_a_shield() -> None:
    done: list[str] = []

    def write() -> None:
        with Cancellation() as cancellation, cancellation.shield():
            interrupt()
            done.append("written whole")

    with pytest.raises(Cancelled):
        write()
    assert done == ["written whole"]


def test_earlier_handlers_and_the_timer_are_restored() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    armed = signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with Cancellation():
            in_a_finalizer()
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, *armed)
    assert [signal.getsignal(number) for number in HANDLED] == before


def test_a_closed_terminal_ends_the_run_like_sigterm_and_its_second_signal_does_not_kill() -> None:
    def close_the_terminal() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            threading.Event().wait(LIMIT_SECONDS)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)

    with pytest.raises(Cancelled, match="SIGHUP") as raised:
        run_until_cancelled_by(close_the_terminal)
    assert raised.value.exit_code == ExitCode.TERMINATED


def test_a_run_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Cancellation():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_while_the_program_is_loading_prints_no_traceback() -> None:
    loading = [sys.executable, "-X", "importtime", "-m", "autoroute", "--version"]
    with subprocess.Popen(loading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("|")[-1].strip() == "click.globals":
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)
    # The process may have ended before the signal.
    assert process.returncode in (130, 0)
    assert "Traceback" not in errors


TWICE = """
import os, signal, threading
from autoroute.cli.signals import Cancellation
with Cancellation("and so on"):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(60)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_second_signal_prints_the_last_message_and_kills() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"and so on")

"""A cancellation reaches the run, wherever in the program the signal finds it."""

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
PATIENCE = 30


class Dying:
    """Runs something as it is let go of: in a finaliser, where Python prints an error and goes on."""

    def __init__(self, last: Callable[[], None]) -> None:
        self._last = last

    def __del__(self) -> None:
        self._last()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def in_a_finaliser() -> None:
    dying = Dying(interrupt)
    del dying


def in_a_finalised_reference() -> None:
    class Held:
        pass

    held = Held()
    weakref.finalize(held, interrupt)
    del held


def cancelled_by(signalled: Callable[[], None]) -> None:
    with Cancellation():
        signalled()
        threading.Event().wait(PATIENCE)


@pytest.mark.parametrize("signalled", [interrupt, in_a_finaliser, in_a_finalised_reference])
def test_a_cancellation_is_raised_even_if_it_comes_where_python_drops_errors(signalled: Callable[[], None]) -> None:
    with pytest.raises(Cancelled) as raised:
        cancelled_by(signalled)
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


def test_handlers_and_timer_of_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    armed = signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with Cancellation():
            in_a_finaliser()
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, *armed)
    assert [signal.getsignal(number) for number in HANDLED] == before


def test_a_terminal_that_closes_ends_it_like_sigterm_and_its_second_signal_does_not_kill() -> None:
    def close_the_terminal() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            threading.Event().wait(PATIENCE)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)

    with pytest.raises(Cancelled, match="SIGHUP") as raised:
        cancelled_by(close_the_terminal)
    assert raised.value.exit_code == ExitCode.TERMINATED


def test_a_run_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Cancellation():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_while_the_program_is_loaded_prints_no_traceback() -> None:
    loading = [sys.executable, "-X", "importtime", "-m", "autoroute", "--version"]
    with subprocess.Popen(loading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("|")[-1].strip() == "click.globals":
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)
    # It may be through by now.
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


def test_a_second_signal_kills_after_last_words() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"and so on")

"""A cancel token wakes and breaks off whatever waits on it, from any thread, once."""

from __future__ import annotations

import threading
import time

import pytest

from autoroute.cancellation import CancelToken
from autoroute.errors import Cancelled, WorkspaceError


def test_a_token_that_is_not_set_stops_nothing() -> None:
    token = CancelToken()
    token.check()
    token.wait(0.0)
    assert (token.cancelled, token.error) == (False, None)


def test_the_first_reason_counts() -> None:
    token = CancelToken()
    token.cancel("enough")
    token.cancel("too late")
    with pytest.raises(Cancelled, match="enough"):
        token.check()


def test_a_run_can_be_stopped_with_any_error_of_the_tree() -> None:
    token, error = CancelToken(), WorkspaceError("the disk is full")
    token.cancel(error)
    with pytest.raises(WorkspaceError) as raised:
        token.check()
    assert raised.value is error


def test_a_wait_ends_when_another_thread_cancels() -> None:
    token, started = CancelToken(), time.monotonic()
    waiting = threading.Thread(target=token.cancel)
    waiting.start()
    with pytest.raises(Cancelled):
        token.wait(60)
    waiting.join()
    assert time.monotonic() - started < 30


def test_what_is_registered_is_called_again_and_again_until_its_block_is_left() -> None:
    token, calls, twice = CancelToken(), list[str](), threading.Event()

    def interrupt() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) > 1:
            twice.set()

    with token.on_cancel(lambda: calls.append("too early")):
        pass
    with token.on_cancel(interrupt):
        token.cancel()
        assert twice.wait(30)
    assert set(calls) == {"autoroute-cancel"}
    calls.clear()
    twice.clear()
    with token.on_cancel(interrupt):
        assert twice.wait(30), "a token that is set already breaks off what begins later"


def test_ctrl_c_is_remembered() -> None:
    token = CancelToken()
    token.cancel(KeyboardInterrupt())
    assert (token.by_keyboard, str(token.error)) == (True, "stopped by Ctrl-C")

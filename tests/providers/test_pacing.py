"""All runs on this machine together ask an account no faster than its profile and its provider allow."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoroute.messages import Allowance
from autoroute.providers.pacing import Pacer
from autoroute.routing import ProviderProfile, Route

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACME = Route("acme", "large", "large")


@dataclass
class State:
    """A state folder, the time of day, and the pace settings of a provider."""

    folder: Path
    now: datetime = NOON
    pace: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def open(self) -> Pacer:
        acme = ProviderProfile(name="acme", wire="openai-chat", base_url="https://acme.example/v1", **self.pace)
        return Pacer(self.folder, {"acme": acme}, lambda: self.now)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state/pace")


def left(kind: Any, remaining: int, seconds: float) -> Allowance:
    return Allowance(kind, remaining, NOON + timedelta(seconds=seconds))


def test_without_pace_settings_no_request_waits_and_no_file_is_written(state: State) -> None:
    pacer = state.open()
    for _ in range(100):
        assert pacer.acquire(ACME, 10_000) == 0.0
        pacer.release(ACME, ())
    assert not state.folder.exists()


def test_all_runs_together_stay_within_the_concurrency_limit(state: State) -> None:
    state.pace = {"max_concurrent": 2}
    first, second = state.open(), state.open()
    assert (first.acquire(ACME, 0), second.acquire(ACME, 0)) == (0.0, 0.0)
    assert 0.1 <= first.acquire(ACME, 0) <= 0.5
    second.release(ACME, ())
    assert first.acquire(ACME, 0) == 0.0
    assert second.acquire(ACME, 0) > 0.0
    first.release(ACME, ())
    first.release(ACME, ())
    assert (second.acquire(ACME, 0), second.acquire(ACME, 0)) == (0.0, 0.0)


def test_the_models_of_an_account_share_its_slots(state: State) -> None:
    state.pace = {"max_concurrent": 1}
    pacer = state.open()
    assert pacer.acquire(ACME, 0) == 0.0
    assert pacer.acquire(replace(ACME, account="work"), 0) == 0.0
    assert pacer.acquire(replace(ACME, model="small"), 0) > 0.0


def test_a_release_without_an_acquire_frees_no_slot(state: State) -> None:
    state.pace = {"max_concurrent": 1}
    pacer = state.open()
    pacer.release(ACME, ())
    assert (pacer.acquire(ACME, 0), state.open().acquire(ACME, 0) > 0.0) == (0.0, True)


def test_threads_do_not_share_a_slot(state: State) -> None:
    state.pace = {"max_concurrent": 3}
    pacer, together = state.open(), Barrier(12)

    def acquire(_: int) -> float:
        together.wait()
        return pacer.acquire(ACME, 0)

    with ThreadPoolExecutor(12) as pool:
        waits = list(pool.map(acquire, range(12)))
    assert waits.count(0.0) == 3


HOLDER = """
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from autoroute.providers.pacing import Pacer
from autoroute.routing import ProviderProfile, Route

acme = ProviderProfile(name="acme", wire="openai-chat", base_url="https://acme.example/v1", max_concurrent=1)
pacer = Pacer(Path(sys.argv[1]), {"acme": acme}, lambda: datetime.now(UTC))
print(pacer.acquire(Route("acme", "large", ""), 0), flush=True)
subprocess.run([sys.executable, "-c", "print('started', flush=True); input()"], close_fds=False)
"""


def test_a_killed_process_frees_its_slot_even_if_its_child_lives_on(state: State) -> None:
    state.pace = {"max_concurrent": 1}
    pacer = state.open()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert [holder.stdout.readline(), holder.stdout.readline()] == ["0.0\n", "started\n"]
        assert pacer.acquire(ACME, 0) > 0.0
        holder.kill()
        holder.wait()
        # Its child is still running, and must not keep the slot.
        assert pacer.acquire(ACME, 0) == 0.0


def test_all_runs_together_stay_within_the_requests_per_minute(state: State) -> None:
    state.pace = {"requests_per_minute": 2}
    first, second = state.open(), state.open()
    assert first.acquire(ACME, 0) == 0.0
    state.now += timedelta(seconds=20)
    assert second.acquire(ACME, 0) == 0.0
    assert (first.acquire(ACME, 0), first.acquire(replace(ACME, account="work"), 0)) == (40.0, 0.0)
    # A try that had to wait does not count as a request.
    state.now += timedelta(seconds=39)
    assert second.acquire(ACME, 0) == 1.0
    state.now += timedelta(seconds=1)
    assert second.acquire(ACME, 0) == 0.0
    assert first.acquire(ACME, 0) == 20.0


def test_no_slot_is_kept_while_the_minute_is_full(state: State) -> None:
    state.pace = {"max_concurrent": 1, "requests_per_minute": 1}
    pacer = state.open()
    assert pacer.acquire(ACME, 0) == 0.0
    pacer.release(ACME, ())
    assert [pacer.acquire(ACME, 0), state.open().acquire(ACME, 0)] == [60.0, 60.0]


def test_the_minute_is_forgotten_when_the_clock_jumps(state: State) -> None:
    state.pace = {"requests_per_minute": 1}
    pacer = state.open()
    for jump in (timedelta(), timedelta(hours=-3), timedelta(days=400), timedelta(days=-800)):
        state.now += jump
        assert pacer.acquire(ACME, 0) == 0.0
        assert pacer.acquire(ACME, 0) == 60.0


@given(st.one_of(st.binary(max_size=100), st.lists(st.floats()).map(lambda numbers: repr(numbers).encode())))
@example(b"nan\ninf\n-inf\n1e999\n" + b"9" * 5000)
@example(f"{NOON.timestamp() - 1}\n{NOON.timestamp() - 2}\n17955".encode())
def test_an_invalid_file_blocks_for_a_minute_at_most(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    state = State(tmp_path_factory.mktemp("pace"), pace={"requests_per_minute": 1})
    state.open().acquire(ACME, 0)
    state.files[0].write_bytes(content)
    assert 0.0 <= state.open().acquire(ACME, 0) <= 60.0
    state.now += timedelta(minutes=1)
    assert state.open().acquire(ACME, 0) == 0.0


def test_a_torn_line_does_not_lose_the_others(state: State) -> None:
    state.pace = {"requests_per_minute": 2}
    for _ in range(2):
        state.open().acquire(ACME, 0)
    (file,) = state.files
    file.write_bytes(b"17\x00\n" + file.read_bytes())
    assert state.open().acquire(ACME, 0) == 60.0


COUNTER = """
import sys
from datetime import datetime
from pathlib import Path
from autoroute.providers.pacing import Pacer
from autoroute.routing import ProviderProfile, Route

acme = ProviderProfile(name="acme", wire="openai-chat", base_url="https://acme.example/v1", requests_per_minute=50)
noon = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
pacer, route = Pacer(Path(sys.argv[1]), {"acme": acme}, lambda: noon), Route("acme", "large", "")
print("ready", flush=True)
sys.stdin.readline()
admitted = 0
while (wait := pacer.acquire(route, 0)) < 60.0:
    admitted += not wait
print(admitted)
"""


def test_many_processes_together_send_exactly_the_requests_per_minute(state: State) -> None:
    counters = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTER, str(state.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for counter in counters:
        assert counter.stdout is not None
        assert counter.stdout.readline() == "ready\n"
    for counter in counters:
        assert counter.stdin is not None
        counter.stdin.write("go\n")
        counter.stdin.flush()
    assert sum(int(counter.communicate(timeout=60)[0]) for counter in counters) == 50


@pytest.mark.parametrize(
    ("allowances", "tokens", "wait"),
    [
        ([], 9_000, 0.0),
        ([left("requests", 0, 30)], 1, 30.0),
        ([left("requests", 1, 30)], 9_000, 0.0),
        ([left("requests", 0, -1)], 1, 0.0),
        ([left("requests", 0, 120)], 1, 120.0),
        ([left("requests", 0, 121)], 1, 0.0),
        ([left("tokens", 8_999, 6)], 9_000, 6.0),
        ([left("tokens", 9_000, 6)], 9_000, 0.0),
        ([left("tokens", 0, 6)], 0, 6.0),
        ([left("input_tokens", 100, 6)], 9_000, 6.0),
        ([left("output_tokens", 100, 6)], 9_000, 0.0),
        ([left("output_tokens", 0, 6)], 9_000, 6.0),
        ([left("requests", 0, 3), left("tokens", 5, 9), left("input_tokens", 99_999, 60)], 9_000, 9.0),
        ([left("requests", 0, 3), left("requests", 7, 3)], 1, 0.0),
        ([left("requests", 0, 3), left("tokens", 0, 9_999)], 1, 0.0),
    ],
)  # fmt: skip
def test_a_request_waits_until_a_short_allowance_resets(
    state: State, allowances: list[Allowance], tokens: int, wait: float
) -> None:
    pacer = state.open()
    for allowance in allowances:
        pacer.release(ACME, (allowance,))
    assert pacer.acquire(ACME, tokens) == wait
    assert pacer.acquire(replace(ACME, account="work"), tokens) == 0.0
    state.now += timedelta(seconds=wait)
    assert pacer.acquire(ACME, tokens) == 0.0
    assert not state.folder.exists()


@pytest.mark.parametrize(
    ("allowances", "wait"),
    [
        ([left("requests", 0, 30), left("requests", 900, 9_999)], 30.0),
        ([left("requests", 900, 9_999), left("requests", 0, 30)], 30.0),
        ([left("requests", 9, 30), left("requests", 0, 9_999)], 0.0),
        ([left("requests", 0, 30), left("requests", 0, 60)], 60.0),
        ([left("requests", 0, 60), left("requests", 0, 30)], 60.0),
    ],
)
def test_of_two_limits_of_a_kind_the_tighter_one_counts(state: State, allowances: list[Allowance], wait: float) -> None:
    pacer = state.open()
    pacer.release(ACME, allowances)
    assert pacer.acquire(ACME, 0) == wait


def test_a_response_without_allowances_keeps_the_known_ones(state: State) -> None:
    pacer = state.open()
    pacer.release(ACME, (left("requests", 0, 30),))
    pacer.release(ACME, ())
    assert pacer.acquire(ACME, 0) == 30.0


def test_no_slot_is_taken_while_the_allowance_is_used_up(state: State) -> None:
    state.pace = {"max_concurrent": 1}
    pacer = state.open()
    pacer.release(ACME, (left("requests", 0, 30),))
    assert (pacer.acquire(ACME, 0), state.open().acquire(ACME, 0)) == (30.0, 0.0)


def occupy(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_away(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("spoil", [occupy, link_away])
def test_without_usable_files_nothing_is_paced(state: State, spoil: Callable[[Path], None]) -> None:
    state.pace = {"max_concurrent": 1, "requests_per_minute": 1}
    state.open().acquire(ACME, 0)
    for path in state.files:
        spoil(path)
    pacer = state.open()
    for _ in range(3):
        assert pacer.acquire(ACME, 0) == 0.0
    pacer.release(ACME, ())


def test_without_a_folder_nothing_is_paced(state: State) -> None:
    state.folder.parent.mkdir()
    state.folder.write_text("a file in its place")
    state.pace = {"max_concurrent": 1, "requests_per_minute": 1}
    assert [state.open().acquire(ACME, 0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_only_the_owner_can_read_the_files(state: State) -> None:
    state.pace = {"max_concurrent": 1, "requests_per_minute": 1}
    before = os.umask(0)
    try:
        state.open().acquire(ACME, 0)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state.folder, *state.files)] == [0o700, 0o600, 0o600]

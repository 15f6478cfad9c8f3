"""A rate limit that was met applies to every run until its reset, and to none after it."""

from __future__ import annotations

import random
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoroute.errors import BadReply, Billing, Busy, LimitReached, ProviderError, Unauthorized, Unreachable
from autoroute.providers.cooldowns import Cooldown, Cooldowns
from autoroute.routing import Route

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
GLM = Route("zai", "glm-4.7", "glm", host="api.z.ai")
MESSAGE = "Usage limit reached for 5 hour"


@dataclass
class State:
    """A state folder, and the time of day."""

    folder: Path
    now: datetime = NOON

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def open(self) -> Cooldowns:
        return Cooldowns(self.folder, lambda: self.now)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state/cooldowns")


def spent(hours: float, message: str = MESSAGE) -> LimitReached:
    return LimitReached(
        message, status=429, code="1308", limit="five_hour", retry_at=NOON + timedelta(hours=hours), hint="wait"
    )


def until(cooldowns: Cooldowns, route: Route = GLM) -> datetime | None:
    limit = cooldowns.active_limit(route)
    return limit.retry_at if limit else None


def test_another_run_gets_the_limit_as_it_was_met(state: State) -> None:
    state.open().record(GLM, spent(3))
    limit = state.open().active_limit(replace(GLM, requested="zai/glm-4.7", effort="high", context=1))
    assert limit is not None
    assert vars(limit) == {
        "message": MESSAGE,
        "hint": "",
        "provider": "zai",
        "model": "glm-4.7",
        "account": "default",
        "status": 429,
        "code": "1308",
        "request_id": "",
        "retry_at": NOON + timedelta(hours=3),
        "limit": "five_hour",
        "whole_account": False,
        "by_setting": False,
        "account_usable": False,
        "detail": "",
    }
    assert type(limit) is LimitReached
    assert limit.retry_at is not None
    assert limit.retry_at.tzinfo == UTC


@pytest.mark.parametrize(
    "other",
    [
        replace(GLM, provider="zai-cn"),
        replace(GLM, host="open.bigmodel.cn"),
        replace(GLM, account="work"),
        replace(GLM, model="glm-4.6"),
    ],
)
def test_a_limit_applies_to_no_other_provider_account_or_model(state: State, other: Route) -> None:
    state.open().record(GLM, spent(3))
    assert state.open().active_limit(other) is None


def test_a_limit_of_the_whole_account_applies_to_all_its_models_and_to_no_other_account(state: State) -> None:
    cooldowns = state.open()
    limit = spent(3)
    limit.whole_account = True
    cooldowns.record(GLM, limit)
    other = replace(GLM, model="glm-5.3")
    met = cooldowns.active_limit(other)
    assert met is not None
    assert (met.model, met.whole_account) == ("glm-5.3", True)
    assert until(cooldowns, replace(GLM, account="work")) is None
    assert [found.model for found in cooldowns.list_active()] == [""]
    cooldowns.clear(other)
    assert until(cooldowns) is None, "an answer of one model shows that the account is open"


def test_a_limit_of_a_setting_is_not_recorded(state: State) -> None:
    limit = spent(3)
    limit.by_setting = True
    state.open().record(GLM, limit)
    assert state.files == []


def test_of_the_limits_of_a_model_and_of_its_account_the_later_one_applies(state: State) -> None:
    cooldowns, whole = state.open(), spent(2)
    whole.whole_account = True
    cooldowns.record(GLM, spent(5))
    cooldowns.record(GLM, whole)
    assert until(cooldowns) == NOON + timedelta(hours=5)
    assert until(cooldowns, replace(GLM, model="glm-5.3")) == NOON + timedelta(hours=2)


def test_a_limit_and_its_file_are_removed_at_the_reset(state: State) -> None:
    cooldowns = state.open()
    cooldowns.record(GLM, spent(3))
    state.now = NOON + timedelta(hours=3) - timedelta(microseconds=1)
    assert until(cooldowns) == NOON + timedelta(hours=3)
    state.now += timedelta(microseconds=1)
    assert cooldowns.active_limit(GLM) is None
    assert state.files == []


def test_a_reply_clears_the_limit_of_its_account_only(state: State) -> None:
    cooldowns, other = state.open(), replace(GLM, account="work")
    cooldowns.record(GLM, spent(3))
    cooldowns.record(other, spent(3))
    cooldowns.clear(GLM)
    assert (cooldowns.active_limit(GLM), until(cooldowns, other)) == (None, NOON + timedelta(hours=3))


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (spent(1), True),
        (spent(0), False),
        (spent(-1), False),
        (spent(35 * 24), True),
        (spent(35 * 24 + 1), False),
        (LimitReached(MESSAGE), False),
        (Busy("overloaded"), False),
        (Busy("overloaded", retry_at=NOON + timedelta(minutes=2)), False),
        (Busy("overloaded", retry_at=NOON + timedelta(minutes=2, seconds=1)), True),
        (Billing("no package", retry_at=NOON + timedelta(hours=1)), False),
        (Unauthorized("expired", retry_at=NOON + timedelta(hours=1)), False),
        (Unreachable("down", retry_at=NOON + timedelta(hours=1)), False),
        (BadReply("garbage", retry_at=NOON + timedelta(hours=1)), False),
    ],
)
def test_only_a_limit_with_a_plausible_reset_is_recorded(state: State, error: ProviderError, recorded: bool) -> None:
    state.open().record(GLM, error)
    limit = state.open().active_limit(GLM)
    assert (limit is not None, len(state.files)) == (recorded, int(recorded))
    assert not recorded or type(limit) is type(error)


@pytest.mark.parametrize("hours", [(1, 3), (3, 1), (3, 3)])
def test_the_later_reset_applies_and_no_file_is_left_after_it(state: State, hours: tuple[int, int]) -> None:
    for number in hours:
        state.open().record(GLM, spent(number))
    for now in (NOON, NOON + timedelta(hours=2)):
        state.now = now
        assert until(state.open()) == NOON + timedelta(hours=3)
        assert [limit.until for limit in state.open().list_active()] == [NOON + timedelta(hours=3)]
    state.now = NOON + timedelta(hours=3)
    assert (state.open().active_limit(GLM), state.files) == (None, [])


def test_recording_a_known_limit_again_changes_nothing(state: State) -> None:
    cooldowns = state.open()
    cooldowns.record(GLM, spent(3))
    (before,) = state.files
    limit = cooldowns.active_limit(GLM)
    assert limit is not None
    cooldowns.record(GLM, limit)
    assert state.files == [before]


def test_a_reset_in_any_time_zone_is_stored_in_utc(state: State) -> None:
    china = timezone(timedelta(hours=8))
    state.open().record(GLM, LimitReached(MESSAGE, retry_at=datetime(2026, 11, 24, 22, tzinfo=china)))
    assert until(state.open()) == datetime(2026, 11, 24, 14, tzinfo=UTC)
    assert ".20261124T140000000000.json" in state.files[0].name


def test_only_the_owner_can_read_the_files(state: State) -> None:
    state.open().record(GLM, spent(3))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state.folder, *state.files)] == [0o700, 0o600]


def test_each_active_limit_is_listed_once_and_sorted(state: State) -> None:
    cooldowns = state.open()
    cooldowns.record(replace(GLM, account="work"), spent(1))
    cooldowns.record(GLM, spent(2))
    cooldowns.record(replace(GLM, provider="anthropic", model="opus", host=""), spent(0.5))
    cooldowns.record(GLM, spent(1))
    (state.folder / "a.json").write_text("{}")
    (state.folder / ".cut-off.new").write_text("{}")
    state.now += timedelta(minutes=45)
    (first, second) = state.open().list_active()
    assert (first.account, second.account) == ("default", "work")
    assert first == Cooldown(
        provider="zai",
        host="api.z.ai",
        account="default",
        model="glm-4.7",
        error="LimitReached",
        until=NOON + timedelta(hours=2),
        message=MESSAGE,
        code="1308",
        status=429,
        limit="five_hour",
    )


def test_after_the_clock_jumps_back_a_distant_reset_does_not_apply_until_the_clock_is_right(state: State) -> None:
    state.open().record(GLM, spent(3))
    state.now -= timedelta(days=400)
    assert (state.open().active_limit(GLM), state.open().list_active()) == (None, [])
    state.now = NOON
    assert until(state.open()) == NOON + timedelta(hours=3)


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"until": 1e999}')
def test_an_invalid_file_counts_as_no_limit(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    state = State(tmp_path_factory.mktemp("state"))
    cooldowns = state.open()
    cooldowns.record(GLM, spent(3))
    state.files[0].write_bytes(content)
    assert (cooldowns.list_active(), cooldowns.active_limit(GLM)) == ([], None)
    cooldowns.clear(GLM)
    cooldowns.record(GLM, spent(1))
    assert until(cooldowns) == NOON + timedelta(hours=1)


@given(
    st.dictionaries(
        st.sampled_from(list(Cooldown.model_fields)),
        st.one_of(st.text(max_size=5), st.integers(), st.none(), st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-24T13:00:00"])),
    )
)  # fmt: skip
def test_a_changed_file_never_applies_longer_than_a_limit_can(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, object]
) -> None:
    state = State(tmp_path_factory.mktemp("state"))
    cooldowns = state.open()
    cooldowns.record(GLM, spent(3))
    (found,) = cooldowns.list_active()
    state.files[0].write_text(found.model_copy(update=changes).model_dump_json(warnings=False))
    at = until(cooldowns)
    assert at is None or NOON < at <= NOON + timedelta(days=35)


@given(st.text(st.characters(categories=["Cs", "Cc", "Ll"])))
@example("half a smile: \ud83d")
def test_any_message_can_be_recorded(tmp_path_factory: pytest.TempPathFactory, message: str) -> None:
    cooldowns = State(tmp_path_factory.mktemp("state")).open()
    cooldowns.record(GLM, spent(3, message))
    limit = cooldowns.active_limit(GLM)
    assert limit is not None
    assert limit.message == message.encode("utf-8", "replace").decode()


def test_an_unusable_folder_is_not_an_error(state: State) -> None:
    state.folder.parent.mkdir(parents=True)
    state.folder.write_text("a file in its place")
    cooldowns = state.open()
    cooldowns.record(GLM, spent(3))
    cooldowns.clear(GLM)
    assert (cooldowns.active_limit(GLM), cooldowns.list_active()) == (None, [])


RECORDER = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from autoroute.errors import LimitReached
from autoroute.providers.cooldowns import Cooldowns
from autoroute.routing import Route

folder, seconds = Path(sys.argv[1]), [int(part) for part in sys.argv[2].split(",")]
noon = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
cooldowns, route = Cooldowns(folder, lambda: noon), Route("zai", "glm-4.7", "", host="api.z.ai")
print("ready", flush=True)
sys.stdin.readline()
for number in seconds:
    cooldowns.record(route, LimitReached("spent", retry_at=noon + timedelta(seconds=number)))
    limit = cooldowns.active_limit(route)
    assert limit is not None and limit.retry_at >= noon + timedelta(seconds=number), (number, limit)
"""


def test_of_the_limits_of_many_processes_the_latest_reset_applies(state: State) -> None:
    order = list(range(1, 8 * 100 + 1))
    random.Random(5).shuffle(order)
    recorders = [
        subprocess.Popen(
            [sys.executable, "-c", RECORDER, str(state.folder), ",".join(map(str, order[start::8]))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in range(8)
    ]
    for recorder in recorders:
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "ready\n"
    for recorder in recorders:
        assert recorder.stdin is not None
        recorder.stdin.write("go\n")
        recorder.stdin.flush()
    for recorder in recorders:
        _, stderr = recorder.communicate(timeout=60)
        assert (recorder.returncode, stderr) == (0, "")
    assert until(state.open()) == NOON + timedelta(seconds=800)
    assert [path for path in state.files if path.suffix != ".json"] == []

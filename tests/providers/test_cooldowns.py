"""Limits that were met hold for every run until they reset, and for none after."""

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
WORDS = "Usage limit reached for 5 hour"


@dataclass
class Desk:
    """A state folder, and the time of day."""

    folder: Path
    now: datetime = NOON

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def open(self) -> Cooldowns:
        return Cooldowns(self.folder, lambda: self.now)


@pytest.fixture
def state(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state/cooldowns")


def spent(hours: float, words: str = WORDS) -> LimitReached:
    return LimitReached(
        words, status=429, code="1308", limit="five_hour", retry_at=NOON + timedelta(hours=hours), hint="wait"
    )


def until(cooldowns: Cooldowns, route: Route = GLM) -> datetime | None:
    limit = cooldowns.limited(route)
    return limit.retry_at if limit else None


def test_a_limit_is_met_again_as_it_was_by_another_run(state: Desk) -> None:
    state.open().keep(GLM, spent(3))
    limit = state.open().limited(replace(GLM, requested="zai/glm-4.7", effort="high", context=1))
    assert limit is not None
    assert vars(limit) == {
        "message": WORDS,
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
def test_it_is_nobody_elses(state: Desk, other: Route) -> None:
    state.open().keep(GLM, spent(3))
    assert state.open().limited(other) is None


def test_a_limit_of_the_whole_account_is_every_models_and_nobody_elses(state: Desk) -> None:
    cooldowns = state.open()
    limit = spent(3)
    limit.whole_account = True
    cooldowns.keep(GLM, limit)
    other = replace(GLM, model="glm-5.3")
    met = cooldowns.limited(other)
    assert met is not None
    assert (met.model, met.whole_account) == ("glm-5.3", True)
    assert until(cooldowns, replace(GLM, account="work")) is None
    assert [found.model for found in cooldowns.known()] == [""]
    cooldowns.forget(other)
    assert until(cooldowns) is None, "an answer of one model shows that the account is open"


def test_what_was_decided_here_is_nobody_elses_limit(state: Desk) -> None:
    limit = spent(3)
    limit.by_setting = True
    state.open().keep(GLM, limit)
    assert state.files == []


def test_of_a_models_and_its_accounts_limit_the_later_one_holds(state: Desk) -> None:
    cooldowns, whole = state.open(), spent(2)
    whole.whole_account = True
    cooldowns.keep(GLM, spent(5))
    cooldowns.keep(GLM, whole)
    assert until(cooldowns) == NOON + timedelta(hours=5)
    assert until(cooldowns, replace(GLM, model="glm-5.3")) == NOON + timedelta(hours=2)


def test_it_is_forgotten_at_its_reset_with_its_file(state: Desk) -> None:
    cooldowns = state.open()
    cooldowns.keep(GLM, spent(3))
    state.now = NOON + timedelta(hours=3) - timedelta(microseconds=1)
    assert until(cooldowns) == NOON + timedelta(hours=3)
    state.now += timedelta(microseconds=1)
    assert cooldowns.limited(GLM) is None
    assert state.files == []


def test_it_is_forgotten_when_a_reply_came_all_the_same(state: Desk) -> None:
    cooldowns, other = state.open(), replace(GLM, account="work")
    cooldowns.keep(GLM, spent(3))
    cooldowns.keep(other, spent(3))
    cooldowns.forget(GLM)
    assert (cooldowns.limited(GLM), until(cooldowns, other)) == (None, NOON + timedelta(hours=3))


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (spent(1), True),
        (spent(0), False),
        (spent(-1), False),
        (spent(35 * 24), True),
        (spent(35 * 24 + 1), False),
        (LimitReached(WORDS), False),
        (Busy("overloaded"), False),
        (Busy("overloaded", retry_at=NOON + timedelta(minutes=2)), False),
        (Busy("overloaded", retry_at=NOON + timedelta(minutes=2, seconds=1)), True),
        (Billing("no package", retry_at=NOON + timedelta(hours=1)), False),
        (Unauthorized("expired", retry_at=NOON + timedelta(hours=1)), False),
        (Unreachable("down", retry_at=NOON + timedelta(hours=1)), False),
        (BadReply("garbage", retry_at=NOON + timedelta(hours=1)), False),
    ],
)
def test_what_is_kept(state: Desk, error: ProviderError, kept: bool) -> None:
    state.open().keep(GLM, error)
    limit = state.open().limited(GLM)
    assert (limit is not None, len(state.files)) == (kept, int(kept))
    assert not kept or type(limit) is type(error)


@pytest.mark.parametrize("hours", [(1, 3), (3, 1), (3, 3)])
def test_the_later_end_holds_and_nothing_is_left_after_it(state: Desk, hours: tuple[int, int]) -> None:
    for number in hours:
        state.open().keep(GLM, spent(number))
    for now in (NOON, NOON + timedelta(hours=2)):
        state.now = now
        assert until(state.open()) == NOON + timedelta(hours=3)
        assert [limit.until for limit in state.open().known()] == [NOON + timedelta(hours=3)]
    state.now = NOON + timedelta(hours=3)
    assert (state.open().limited(GLM), state.files) == (None, [])


def test_a_limit_that_was_made_again_changes_nothing_when_kept(state: Desk) -> None:
    cooldowns = state.open()
    cooldowns.keep(GLM, spent(3))
    (before,) = state.files
    limit = cooldowns.limited(GLM)
    assert limit is not None
    cooldowns.keep(GLM, limit)
    assert state.files == [before]


def test_a_reset_in_any_zone_is_one_in_utc(state: Desk) -> None:
    china = timezone(timedelta(hours=8))
    state.open().keep(GLM, LimitReached(WORDS, retry_at=datetime(2026, 11, 24, 22, tzinfo=china)))
    assert until(state.open()) == datetime(2026, 11, 24, 14, tzinfo=UTC)
    assert ".20261124T140000000000.json" in state.files[0].name


def test_files_are_their_owners_alone(state: Desk) -> None:
    state.open().keep(GLM, spent(3))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state.folder, *state.files)] == [0o700, 0o600]


def test_all_that_holds_is_listed_once_in_order(state: Desk) -> None:
    cooldowns = state.open()
    cooldowns.keep(replace(GLM, account="work"), spent(1))
    cooldowns.keep(GLM, spent(2))
    cooldowns.keep(replace(GLM, provider="anthropic", model="opus", host=""), spent(0.5))
    cooldowns.keep(GLM, spent(1))
    (state.folder / "a.json").write_text("{}")
    (state.folder / ".cut-off.new").write_text("{}")
    state.now += timedelta(minutes=45)
    (first, second) = state.open().known()
    assert (first.account, second.account) == ("default", "work")
    assert first == Cooldown(
        provider="zai",
        host="api.z.ai",
        account="default",
        model="glm-4.7",
        error="LimitReached",
        until=NOON + timedelta(hours=2),
        message=WORDS,
        code="1308",
        status=429,
        limit="five_hour",
    )


def test_when_the_clock_jumps_back_a_far_end_does_not_hold_until_it_is_mended(state: Desk) -> None:
    state.open().keep(GLM, spent(3))
    state.now -= timedelta(days=400)
    assert (state.open().limited(GLM), state.open().known()) == (None, [])
    state.now = NOON
    assert until(state.open()) == NOON + timedelta(hours=3)


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"until": 1e999}')
def test_a_file_that_says_nothing_counts_as_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    state = Desk(tmp_path_factory.mktemp("state"))
    cooldowns = state.open()
    cooldowns.keep(GLM, spent(3))
    state.files[0].write_bytes(content)
    assert (cooldowns.known(), cooldowns.limited(GLM)) == ([], None)
    cooldowns.forget(GLM)
    cooldowns.keep(GLM, spent(1))
    assert until(cooldowns) == NOON + timedelta(hours=1)


@given(
    st.dictionaries(
        st.sampled_from(list(Cooldown.model_fields)),
        st.one_of(st.text(max_size=5), st.integers(), st.none(), st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-24T13:00:00"])),
    )
)  # fmt: skip
def test_a_file_that_says_something_else_holds_for_no_longer_than_can_be(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, object]
) -> None:
    state = Desk(tmp_path_factory.mktemp("state"))
    cooldowns = state.open()
    cooldowns.keep(GLM, spent(3))
    (held,) = cooldowns.known()
    state.files[0].write_text(held.model_copy(update=changes).model_dump_json(warnings=False))
    at = until(cooldowns)
    assert at is None or NOON < at <= NOON + timedelta(days=35)


@given(st.text(st.characters(categories=["Cs", "Cc", "Ll"])))
@example("half a smile: \ud83d")
def test_any_words_can_be_kept(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    cooldowns = Desk(tmp_path_factory.mktemp("state")).open()
    cooldowns.keep(GLM, spent(3, words))
    limit = cooldowns.limited(GLM)
    assert limit is not None
    assert limit.message == words.encode("utf-8", "replace").decode()


def test_a_folder_that_cannot_be_written_or_read_is_no_error(state: Desk) -> None:
    state.folder.parent.mkdir(parents=True)
    state.folder.write_text("a file stands in its place")
    cooldowns = state.open()
    cooldowns.keep(GLM, spent(3))
    cooldowns.forget(GLM)
    assert (cooldowns.limited(GLM), cooldowns.known()) == (None, [])


KEEPER = """
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
    cooldowns.keep(route, LimitReached("spent", retry_at=noon + timedelta(seconds=number)))
    limit = cooldowns.limited(route)
    assert limit is not None and limit.retry_at >= noon + timedelta(seconds=number), (number, limit)
"""


def test_of_many_processes_the_latest_end_holds(state: Desk) -> None:
    order = list(range(1, 8 * 100 + 1))
    random.Random(5).shuffle(order)
    keepers = [
        subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(state.folder), ",".join(map(str, order[start::8]))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in range(8)
    ]
    for keeper in keepers:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "ready\n"
    for keeper in keepers:
        assert keeper.stdin is not None
        keeper.stdin.write("go\n")
        keeper.stdin.flush()
    for keeper in keepers:
        _, complaints = keeper.communicate(timeout=60)
        assert (keeper.returncode, complaints) == (0, "")
    assert until(state.open()) == NOON + timedelta(seconds=800)
    assert [path for path in state.files if path.suffix != ".json"] == []

"""The settings ``[recovery]`` and ``gates``: durations, errors, and what a repository may set."""

from __future__ import annotations

import pytest

from autoroute.errors import ConfigError
from autoroute.routing import Phase
from tests.config.desk import Desk


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ('"2h"', 7200),
        ('"1h30m"', 5400),
        ('"90s"', 90),
        ('"90"', 90),
        ('"1d"', 86_400),
        ('"0"', 0),
        ("45", 45),
        ("1.5", 1.5),
    ],
)
def test_a_duration_is_read_as_people_write_it(desk: Desk, written: str, seconds: float) -> None:
    desk.user(f"[recovery]\nmax_wait = {written}\n")
    assert desk.load().config.recovery.max_wait == seconds


@pytest.mark.parametrize("written", ['"soon"', '""', '"2 hours"', '"h"', "-1", "true", '"30m1h"'])
def test_an_invalid_duration_is_an_error_that_names_the_setting(desk: Desk, written: str) -> None:
    desk.user(f"[recovery]\nmax_wait = {written}\n")
    with pytest.raises(ConfigError, match=r"config.toml: recovery.max_wait"):
        desk.load()


def test_an_unknown_on_limit_is_an_error_with_the_known_values(desk: Desk) -> None:
    desk.user('[recovery]\non_limit = "retry"\n')
    with pytest.raises(ConfigError, match=r"recovery.on_limit.*'wait'.*'retry'"):
        desk.load()


def test_a_repository_cannot_set_recovery(desk: Desk) -> None:
    desk.project("[recovery]\nallow_paid = true\n")
    with pytest.raises(ConfigError, match=r"recovery\.allow_paid may not be set"):
        desk.load()


def test_gates_of_all_layers_add_up_so_that_a_repository_cannot_remove_one(desk: Desk) -> None:
    desk.user('gates = ["plan"]\n')
    desk.project('gates = ["coding"]\n')
    assert desk.load().config.gates == (Phase.PLANNING, Phase.CODING)
    desk.project("gates = []\n")
    assert desk.load().config.gates == (Phase.PLANNING,)


def test_variables_set_recovery_and_gates(desk: Desk) -> None:
    desk.environ |= {
        "AUTOROUTE_RECOVERY__ON_LIMIT": "wait",
        "AUTOROUTE_RECOVERY__MAX_WAIT": "10m",
        "AUTOROUTE_RECOVERY__ALLOW_PAID": "true",
        "AUTOROUTE_GATES": "spec,qa",
    }
    config = desk.load().config
    assert (config.recovery.on_limit, config.recovery.max_wait, config.recovery.allow_paid) == ("wait", 600, True)
    assert config.gates == (Phase.SPEC, Phase.QA)


def test_a_gate_that_is_not_a_phase_is_an_error(desk: Desk) -> None:
    desk.user('gates = ["testing"]\n')
    with pytest.raises(ConfigError, match=r"config.toml: gates.0"):
        desk.load()

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from autoroute.phases import PHASES, Ending, PhaseOutcome, find_phase, next_phase
from autoroute.routing import Phase

CELLS: dict[tuple[Phase, str], Phase | str] = {
    (Phase.SPEC, "done"): Phase.PLANNING,
    (Phase.PLANNING, "done"): Phase.CODING,
    (Phase.CODING, "done"): Phase.QA,
    (Phase.QA, "approved"): "approved",
    (Phase.QA, "rejected"): Phase.CODING,
}


@pytest.mark.parametrize(("phase", "outcome"), list(product(Phase, get_args(PhaseOutcome))))
def test_every_cell_of_the_transition_table(phase: Phase, outcome: PhaseOutcome) -> None:
    if (phase, outcome) in CELLS:
        assert next_phase(phase, outcome, round=1, max_rounds=3) == CELLS[phase, outcome]
    else:
        with pytest.raises(KeyError):
            next_phase(phase, outcome, round=1, max_rounds=3)


@pytest.mark.parametrize(("round", "following"), [(1, Phase.CODING), (2, Phase.CODING), (3, "rejected")])
def test_a_rejection_leads_back_to_coding_until_the_last_round(round: int, following: Phase | Ending) -> None:
    assert next_phase(Phase.QA, "rejected", round=round, max_rounds=3) == following


@pytest.mark.parametrize("row", list(PHASES.values()), ids=lambda row: row.phase.value)
def test_a_phase_is_found_by_its_name_and_by_its_flag(row: object) -> None:
    phase = next(spec for spec in PHASES.values() if spec is row)
    assert find_phase(phase.phase.value) is phase
    assert find_phase(phase.flag) is phase


def test_only_coding_may_write() -> None:
    assert [row.phase for row in PHASES.values() if row.writes] == [Phase.CODING]


def test_an_unknown_phase_is_not_found() -> None:
    assert find_phase("review") is None

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoroute.phases.artifacts import Plan, Review, Spec, check_plan, check_review, check_spec

SPEC: dict[str, Any] = {
    "title": "Reject unknown units",
    "summary": "parse() must not swallow them.",
    "requirements": ["Raise ValueError"],
    "acceptance": [{"id": "A1", "text": "raises"}, {"id": "A2", "text": "names the unit"}],
    "assumptions": [],
    "out_of_scope": [],
}


def subtask(
    id: str, acceptance: list[str], depends_on: tuple[str, ...] = (), verify: str | None = None
) -> dict[str, Any]:
    row = {"id": id, "title": id, "description": "do it", "files": [], "acceptance": acceptance}
    return {**row, "depends_on": list(depends_on)} | ({"verify": verify} if verify else {})


def plan(*subtasks: dict[str, Any], verify: tuple[str, ...] = ("make test",)) -> Plan:
    return Plan.model_validate({"summary": "s", "subtasks": list(subtasks), "verify": list(verify)})


def review(verdict: str, met: dict[str, bool], issues: int = 0) -> Review:
    issue = {"severity": "major", "file": "a.py", "problem": "wrong", "fix": "fix it"}
    criteria = [{"id": id, "met": value, "evidence": "e"} for id, value in met.items()]
    return Review.model_validate({"verdict": verdict, "summary": "s", "criteria": criteria, "issues": [issue] * issues})


spec = Spec.model_validate(SPEC)


def test_a_consistent_spec_plan_and_review_have_no_problems() -> None:
    assert check_spec(spec) == []
    assert check_plan(plan(subtask("S1", ["A1"]), subtask("S2", ["A2"], ("S1",))), spec) == []
    assert check_review(review("approved", {"A1": True, "A2": True}), spec) == []
    assert check_review(review("rejected", {"A1": True, "A2": False}), spec) == []
    assert check_review(review("rejected", {"A1": True, "A2": True}, issues=1), spec) == []


@pytest.mark.parametrize("field", SPEC)
def test_every_field_of_a_spec_is_required(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Spec.model_validate({name: value for name, value in SPEC.items() if name != field})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"title": "two\nlines"}, "title"),
        ({"title": "   "}, "title"),
        ({"acceptance": []}, "acceptance"),
        ({"acceptance": [{"id": "A 1", "text": "x"}]}, r"acceptance\.0\.id"),
        ({"requirements": "one"}, "requirements"),
        ({"priority": "high"}, "priority"),
    ],
)
def test_an_invalid_spec_is_rejected_with_the_field(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError, match=place):
        Spec.model_validate(SPEC | change)


def test_duplicate_ids_are_reported() -> None:
    twice = Spec.model_validate(SPEC | {"acceptance": [{"id": "A1", "text": "x"}, {"id": "A1", "text": "y"}]})
    assert check_spec(twice) == ["acceptance: id 'A1' is used more than once"]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (plan(subtask("S1", ["A1"])), "no subtask covers acceptance criterion 'A2'"),
        (plan(subtask("S1", ["A1", "A2", "A9"])), "acceptance has 'A9'"),
        (plan(subtask("S1", ["A1", "A2"], ("S7",))), "depends_on has 'S7'"),
        (plan(subtask("S1", ["A1"]), subtask("S1", ["A2"])), "id 'S1' is used more than once"),
        (plan(subtask("S1", ["A1"], ("S2",)), subtask("S2", ["A2"], ("S1",))), "form a cycle"),
        (plan(subtask("S1", ["A1", "A2"]), verify=()), "give at least one command"),
    ],
)
def test_an_inconsistent_plan_is_reported(bad: Plan, problem: str) -> None:
    assert any(problem in found for found in check_plan(bad, spec))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (review("approved", {"A1": True}), "id 'A2' is not judged"),
        (review("approved", {"A1": True, "A2": True, "A3": True}), "id 'A3' is not in the spec"),
        (review("approved", {"A1": True, "A2": False}), "cannot be approved, because A2 is not met"),
        (review("rejected", {"A1": True, "A2": True}), "without an unmet criterion or an issue"),
    ],
)
def test_a_contradictory_review_is_reported(bad: Review, problem: str) -> None:
    assert any(problem in found for found in check_review(bad, spec))


def test_the_verify_commands_of_a_plan_are_unique_with_those_of_the_whole_first() -> None:
    whole = plan(subtask("S1", ["A1"], verify="make a"), subtask("S2", ["A2"], verify="make test"))
    assert whole.verify_commands() == ["make test", "make a"]


@given(st.integers(1, 8), st.data())
def test_subtasks_come_after_their_dependencies_and_none_is_lost(size: int, data: st.DataObject) -> None:
    ids = [f"S{number}" for number in range(size)]
    order = data.draw(st.permutations(ids))
    dependencies = {
        id: tuple(data.draw(st.sets(st.sampled_from(order[:place])))) if place else () for place, id in enumerate(order)
    }
    ordered = [s.id for s in plan(*(subtask(id, ["A1", "A2"], dependencies[id]) for id in ids)).ordered_subtasks()]
    assert sorted(ordered) == ids
    for id in ids:
        assert all(ordered.index(earlier) < ordered.index(id) for earlier in dependencies[id])

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoroute.phases.artifacts import ARTIFACTS
from tests.tools.conftest import Harness

SPEC: dict[str, Any] = {
    "title": "Slugs keep digits",
    "summary": "Digits stay.",
    "requirements": ["digits stay"],
    "acceptance": [{"id": "A1", "text": "the tests pass"}],
    "assumptions": [],
    "out_of_scope": [],
}
SUBTASK: dict[str, Any] = {
    "id": "S1",
    "title": "Keep digits",
    "description": "In slug.py.",
    "files": ["slug.py"],
    "depends_on": [],
    "acceptance": ["A1"],
}
PLAN: dict[str, Any] = {"summary": "One step.", "subtasks": [SUBTASK], "verify": ["make test"]}
REVIEW: dict[str, Any] = {
    "verdict": "approved",
    "summary": "Good.",
    "criteria": [{"id": "A1", "met": True, "evidence": "ran it"}],
    "issues": [],
}
GOOD = {"spec": SPEC, "plan": PLAN, "review": REVIEW}


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_a_valid_artifact_is_returned_as_json_that_its_model_reads_again(kind: str, harness: Harness) -> None:
    outcome = harness.call(f"submit_{kind}", **GOOD[kind])
    assert not outcome.is_error
    assert outcome.text == f"{kind} accepted"
    model = ARTIFACTS[kind]
    assert outcome.artifact is not None
    assert model.model_validate(outcome.artifact) == model.model_validate(GOOD[kind])


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_the_check_gets_the_artifact_and_its_problems_are_returned_word_for_word(kind: str, harness: Harness) -> None:
    seen: list[tuple[str, Any]] = []

    def check(name: str, artifact: Any) -> list[str]:
        seen.append((name, artifact))
        return ["first thing", "second thing"]

    outcome = replace(harness, check=check).call(f"submit_{kind}", **GOOD[kind])
    assert outcome.is_error
    assert outcome.artifact is None
    assert outcome.text == "first thing\nsecond thing"
    assert seen == [(kind, ARTIFACTS[kind].model_validate(GOOD[kind]))]


@pytest.mark.parametrize(
    ("kind", "change", "complaints"),
    [
        (
            "plan",
            {"subtasks": [SUBTASK, {**SUBTASK, "verify": 3}]},
            ["subtasks[1].verify: should be text, not a number"],
        ),
        ("plan", {"subtasks": []}, ["subtasks: should have at least 1 item after validation, not 0"]),
        ("plan", {"subtasks": [{**SUBTASK, "tests": []}]}, ["subtasks[0].tests: unknown argument"]),
        ("plan", {"subtasks": "S1"}, ["subtasks: should be a list, not text"]),
        ("plan", {"subtasks": ["S1"]}, ["subtasks[0]: should be an object, not text"]),
        (
            "review",
            {"verdict": "fine", "criteria": [{"id": "A1", "met": "yes", "evidence": ""}]},
            [
                "verdict: should be 'approved' or 'rejected', not \"fine\"",
                "criteria[0].met: should be a valid boolean, not text",
                'criteria[0].evidence: should have at least 1 character, not ""',
            ],
        ),
        ("spec", {"title": "two\nlines"}, ["title: should match pattern '^[^\\r\\n]*$', not \"two\\nlines\""]),
    ],
)
def test_each_invalid_field_is_reported_on_a_line(
    kind: str, change: dict[str, Any], complaints: list[str], harness: Harness
) -> None:
    outcome = harness.call(f"submit_{kind}", **{**GOOD[kind], **change})
    assert outcome.is_error
    assert outcome.text.splitlines() == complaints

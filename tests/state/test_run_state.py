"""What events mean: the state after them is the same whether they happen now or are read from a journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import get_args

import pytest

from autoroute.events import (
    ArtifactAccepted,
    ArtifactRejected,
    Event,
    GateDecided,
    GateReached,
    PhaseEnded,
    PhaseStarted,
    PromptSent,
    RecoveryDecided,
    RunEnded,
    RunResumed,
    RunStarted,
    SubtaskEnded,
    SubtaskStarted,
    ToolEnded,
    TurnEnded,
    TurnStarted,
    VerifyEnded,
    VerifyStarted,
    decode,
    encode,
)
from autoroute.routing import Phase
from autoroute.state import MEANINGLESS, RunState
from tests.store.examples import BLOCKED, CLAUDE, GLM, REPLY, REVIEW, RUN, SPEC

REJECTED = {**REVIEW, "verdict": "rejected"}


def verified(command: str, *, passed: bool, phase: Phase = Phase.QA) -> tuple[Event, Event]:
    code = 0 if passed else 1
    return (
        VerifyStarted(phase=phase, command=command, tree="t" * 40),
        VerifyEnded(phase=phase, command=command, passed=passed, exit_code=code, output="", seconds=0.1),
    )


def ended(phase: Phase, outcome: str, round: int = 1) -> PhaseEnded:
    return PhaseEnded(phase=phase, round=round, outcome=outcome, seconds=1.0)  # type: ignore[arg-type]


def begun(phase: Phase, round: int = 1) -> PhaseStarted:
    return PhaseStarted(phase=phase, round=round, route=GLM)


TWO_ROUNDS: tuple[Event, ...] = (
    RUN[0],
    begun(Phase.SPEC),
    ArtifactAccepted(phase=Phase.SPEC, round=1, artifact="spec", content=SPEC),
    ended(Phase.SPEC, "done"),
    begun(Phase.CODING),
    SubtaskStarted(subtask="S1", title="Write it", attempt=1, number=1, total=1, tree="a" * 40),
    PromptSent(phase=Phase.CODING, text="Write it.", opens=True),
    TurnStarted(phase=Phase.CODING, turn=1, route=GLM, attempt=1),
    TurnEnded(phase=Phase.CODING, turn=1, route=GLM, reply=REPLY, seconds=2.0, cost=None),
    ToolEnded(phase=Phase.CODING, turn=1, call="c1", name="edit", text="edited", is_error=False, seconds=0.1),
    SubtaskEnded(subtask="S1", passed=True, commit="c" * 40),
    ended(Phase.CODING, "done"),
    begun(Phase.QA),
    *verified("make", passed=False),
    ArtifactAccepted(phase=Phase.QA, round=1, artifact="review", content=REVIEW, touched=("a.py",)),
    ended(Phase.QA, "rejected"),
    begun(Phase.CODING, 2),
    SubtaskStarted(subtask="R2", title="Address it", attempt=1, number=1, total=1),
    SubtaskEnded(subtask="R2", passed=True, commit=""),
    ended(Phase.CODING, "done", 2),
    begun(Phase.QA, 2),
    *verified("make", passed=True),
)
GATES: tuple[Event, ...] = (
    *TWO_ROUNDS[:4],
    GateReached(phase=Phase.SPEC, round=1, artifact="spec"),
    GateDecided(phase=Phase.SPEC, round=1, decision="rejected", words="shorter"),
    begun(Phase.SPEC),
    ArtifactAccepted(phase=Phase.SPEC, round=1, artifact="spec", content=SPEC),
    ended(Phase.SPEC, "done"),
    GateReached(phase=Phase.SPEC, round=1, artifact="spec"),
    GateDecided(phase=Phase.SPEC, round=1, decision="approved"),
    begun(Phase.QA),
    ArtifactAccepted(phase=Phase.QA, round=1, artifact="review", content=REVIEW),
    ended(Phase.QA, "approved"),
    GateReached(phase=Phase.QA, round=1, artifact="review"),
    GateDecided(phase=Phase.QA, round=1, decision="rejected", words="it must wave"),
)
RUNS = {"example": RUN, "two rounds": TWO_ROUNDS, "gates": GATES}
CUTS = [pytest.param(events, kept, id=f"{name}-{kept}") for name, events in RUNS.items() for kept in range(len(events))]


def stored(events: Sequence[Event]) -> list[Event]:
    """The events as a journal gives them back."""
    return [decode(json.loads(json.dumps(encode(event)))) for event in events if not isinstance(event, MEANINGLESS)]


@pytest.mark.parametrize(("events", "kept"), CUTS)
def test_a_resumed_run_comes_to_the_same_state_as_one_that_was_not_interrupted(
    events: Sequence[Event], kept: int
) -> None:
    state = RunState.of(stored(events[:kept]))
    for event in events[kept:]:
        state.apply(event)
    assert state == RunState.of(events)


@pytest.mark.parametrize("events", RUNS.values(), ids=RUNS)
def test_the_state_of_one_sitting_alone_can_be_folded(events: Sequence[Event]) -> None:
    for first in range(len(events)):
        RunState.of(events[first:])


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_changes_the_state_or_is_listed_as_meaningless(kind: type[Event]) -> None:
    changes = []
    for events in RUNS.values():
        state = RunState()
        for event in events:
            before = deepcopy(state)
            state.apply(event)
            if isinstance(event, kind):
                changes.append(state != before)
    if kind is ArtifactRejected:  # it means something within a conversation, which the examples have none for
        state = RunState.of([PromptSent(phase=Phase.SPEC, text="Write it.", opens=True)])
        state.apply(ArtifactRejected(phase=Phase.SPEC, artifact="spec", complaint="title: missing", attempt=1))
        assert state.conversation is not None
        changes.append(state.conversation.pending.rejected)
    assert changes, "the examples hold none"
    assert any(changes) == (kind not in MEANINGLESS)


def after(*events: Event) -> RunState:
    return RunState.of(events)


def test_a_new_round_of_qa_begins_without_the_evidence_of_the_one_before() -> None:
    state = after(*TWO_ROUNDS[:-2])
    assert (state.work.evidence, state.work.touched) == ([], ())
    assert after(*TWO_ROUNDS).work.failed_commands == []


def test_qa_that_continues_keeps_its_evidence() -> None:
    state = after(*TWO_ROUNDS[:16], begun(Phase.QA))
    assert state.work.failed_commands == ["make"]
    assert state.work.touched == ("a.py",)


def test_a_command_counts_by_its_last_result() -> None:
    state = after(begun(Phase.QA), *verified("make", passed=False), *verified("make", passed=True))
    assert state.work.failed_commands == []
    assert [event.passed for event in state.history.verifications] == [False, True]


def test_a_verify_command_that_was_cut_off_leaves_a_tree_to_restore() -> None:
    begins, ends = verified("make", passed=True)
    assert after(begins).work.unverified_tree == "t" * 40
    assert after(begins, ends).work.unverified_tree == ""


def test_a_phase_that_failed_has_work_left() -> None:
    state = after(begun(Phase.CODING), ended(Phase.CODING, "failed"))
    assert state.position.outcome is None
    assert state.position.ended is not None


def test_a_rejected_artifact_is_kept_as_an_objection_until_the_next_one() -> None:
    state = after(*GATES[:6])
    assert "spec" not in state.artifacts
    assert state.work.objection is not None
    assert (state.work.objection.words, state.work.objection.artifact) == ("shorter", SPEC)
    assert after(*GATES[:8]).work.objection is None


def test_a_person_who_rejects_a_change_sends_it_to_another_round_of_coding() -> None:
    state = after(*GATES)
    assert (state.position.phase, state.position.round, state.position.outcome) == (Phase.CODING, 2, None)
    assert state.artifacts["review"]["summary"] == "it must wave"
    assert state.history.extra_rounds == 1
    assert state.verdict == "rejected"


def test_a_gate_waits_until_it_is_decided() -> None:
    assert after(*GATES[:5]).position.waiting_gate == GATES[4]
    assert after(*GATES[:6]).position.waiting_gate is None
    assert after(*GATES[:11]).position.waiting_gate is None


@pytest.mark.parametrize(
    ("events", "ahead"),
    [
        ((), ("spec", "planning", "coding", "qa")),
        ((begun(Phase.SPEC),), ("spec", "planning", "coding", "qa")),
        ((begun(Phase.SPEC), ended(Phase.SPEC, "done")), ("planning", "coding", "qa")),
        ((begun(Phase.SPEC), ended(Phase.SPEC, "failed")), ("spec", "planning", "coding", "qa")),
        (GATES[:5], ("spec", "planning", "coding", "qa")),
        (GATES[:6], ("spec", "planning", "coding", "qa")),
        (GATES[:11], ("planning", "coding", "qa")),
        (TWO_ROUNDS, ("coding", "qa")),
        ((begun(Phase.QA), ended(Phase.QA, "approved")), ("coding", "qa")),
    ],
)
def test_the_phases_ahead_are_those_that_may_still_be_worked_on(events: Sequence[Event], ahead: Sequence[str]) -> None:
    assert after(*events).phases_ahead == ahead


def test_an_approval_that_a_command_contradicts_is_a_rejection() -> None:
    end = RunEnded(outcome="rejected", exit_code=11, message="verification failed", hint="", seconds=1.0)
    state = after(*TWO_ROUNDS[:17])
    assert state.verdict == "approved"
    state.apply(end)
    assert (state.verdict, state.is_approved) == ("rejected", False)


def test_the_current_sitting_is_the_one_that_was_started_last() -> None:
    started, resumed = RUN[0], RUN[7]
    assert isinstance(started, RunStarted)
    assert isinstance(resumed, RunResumed)
    state = after(*RUN)
    assert (state.started, state.sitting, state.resumed) == (started, resumed, 1)
    assert state.is_approved
    state.apply(resumed)
    assert (state.ended, state.resumed) == (None, 2)


def test_usage_is_booked_on_the_route_that_was_asked() -> None:
    usage = after(*RUN).usage
    row = usage.rows[Phase.CODING, GLM]
    assert (row.requests, row.turns, row.retries, row.tool_calls, row.compactions) == (2, 1, 1, 1, 1)
    assert (row.tokens, row.cost, row.served_models) == (REPLY.usage, 0.0025, ["glm-4.7-0815"])
    assert usage.serving[Phase.CODING] == CLAUDE
    assert usage.primary[Phase.CODING] == GLM
    assert usage.last_turn == 1


def test_a_turn_without_a_known_price_leaves_the_cost_unknown() -> None:
    usage = after(*RUN, *TWO_ROUNDS[7:9]).usage
    assert usage.cost() is None
    assert usage.known_cost() == 0.0025
    assert usage.cost(Phase.SPEC) == 0.0
    assert usage.tokens().total == 2 * REPLY.usage.total


def test_a_decision_is_kept_with_the_problem_that_it_answers() -> None:
    (record,) = after(*RUN).history.recoveries
    assert record.needed == BLOCKED
    assert isinstance(record.decided, RecoveryDecided)


def test_a_conversation_is_over_once_its_subtask_is_done() -> None:
    assert after(*TWO_ROUNDS[:10]).conversation is not None
    assert after(*TWO_ROUNDS[:11]).conversation is None
    assert after(*TWO_ROUNDS[:11]).work.finished == {(1, "S1")}


def test_a_subtask_that_failed_keeps_its_conversation_and_its_attempts() -> None:
    state = after(*TWO_ROUNDS[:10], SubtaskEnded(subtask="S1", passed=False, commit=""), ended(Phase.CODING, "failed"))
    assert state.conversation is not None
    assert state.conversation.attempt == 1
    assert state.work.finished == set()


def test_an_attempt_counts_once_the_model_was_told_of_it() -> None:
    first = TWO_ROUNDS[5]
    assert isinstance(first, SubtaskStarted)
    state = after(*TWO_ROUNDS[:10], replace(first, attempt=2))
    assert state.conversation is not None
    assert state.conversation.attempt == 1
    state.apply(PromptSent(phase=Phase.CODING, text="It failed.", opens=False))
    assert state.conversation.attempt == 2

"""A gate after a phase: a person approves what it hands on, edits it, or sends it back, before the run continues."""

from __future__ import annotations

from collections.abc import Generator

from pydantic import ValidationError

from autoroute.engine.policy import Approval
from autoroute.engine.publish import publish
from autoroute.engine.sitting import Sitting
from autoroute.errors import ConfigError
from autoroute.events import Event, GateDecided, GateReached
from autoroute.phases import PHASES
from autoroute.phases.artifacts import ARTIFACTS, Review
from autoroute.routing import Phase


def request_approval(sitting: Sitting) -> Generator[Event, None, bool]:
    """Pass the gate after a phase, if there is one; return whether the run continues now.

    A phase that was sent back has no outcome any more. Raises ``ConfigError`` when an artifact that was edited before
    the run was resumed is not valid.
    """
    context, position = sitting.context, sitting.state.position
    if not _has_open_gate(sitting):
        return True
    # An answer that was given with `resume` is for the gate that the run waited at, and for no later one.
    given = context.options.approval if position.waiting_gate else None
    if sitting.phase in (Phase.CODING, Phase.QA):
        yield from publish(sitting)  # so that the change can be looked at
    gate = GateReached(phase=sitting.phase, round=sitting.round, artifact=PHASES[sitting.phase].artifact or "")
    yield gate
    complaints: list[str] = []
    while True:
        approval = given or context.decider.approve(gate, complaints)
        if approval.decision == "later":
            return False
        complaints = _find_complaints(sitting, approval)
        if not complaints:
            break
        if given:
            raise ConfigError(
                f"the edited {gate.artifact}.json is not valid:\n" + "\n".join(complaints),
                hint=f"correct it in the run's folder, then {context.resume} --approve",
            )
    if approval.decision == "approved" and approval.content is not None and _is_edited(sitting, approval):
        yield sitting.accepted(dict(approval.content))
    yield GateDecided(phase=gate.phase, round=gate.round, decision=approval.decision, words=approval.words)
    return True


def _has_open_gate(sitting: Sitting) -> bool:
    """Return whether a gate follows what the phase came to. A rejection by qa goes to coding without one."""
    position = sitting.state.position
    if position.gate is not None:
        return position.waiting_gate is not None and position.outcome != "rejected"
    return sitting.phase in sitting.context.config.gates and position.outcome != "rejected"


def _find_complaints(sitting: Sitting, approval: Approval) -> list[str]:
    """Return what is wrong with the artifact as it was edited."""
    artifact = PHASES[sitting.phase].artifact
    if approval.content is None or artifact is None:
        return []
    try:
        edited = ARTIFACTS[artifact].model_validate(dict(approval.content))
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
    outcome = sitting.state.position.outcome
    if isinstance(edited, Review) and edited.verdict != outcome:
        return [f"verdict: qa came to {outcome}; to send the change back, reject it with words"]
    return sitting.find_complaints(artifact, edited)


def _is_edited(sitting: Sitting, approval: Approval) -> bool:
    artifact = PHASES[sitting.phase].artifact
    known = sitting.artifacts.find(artifact) if artifact else None
    return known is not None and known.model_dump(mode="json") != approval.content

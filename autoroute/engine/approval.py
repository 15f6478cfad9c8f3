"""A gate: a person approves what a phase hands on, edits it, or sends it back with words, before the run goes on."""

from __future__ import annotations

from collections.abc import Generator

from pydantic import ValidationError

from autoroute.engine.context import Progress
from autoroute.engine.policy import Approval
from autoroute.engine.publish import publish
from autoroute.errors import ConfigError
from autoroute.events import Event, GateDecided, GateReached
from autoroute.phases import PHASES
from autoroute.phases.artifacts import ARTIFACTS, Review
from autoroute.routing import Phase


def request_approval(progress: Progress) -> Generator[Event, None, bool]:
    """Whether the run goes on now; a phase that was sent back has no outcome any more.

    Raises ``ConfigError`` when an artifact that was edited beforehand is not valid.
    """
    context, phase = progress.context, progress.phase
    if progress.gate == "passed" or not _is_asked(progress):
        return True
    # What was said beforehand is about the gate that the run was waiting at, and about no other.
    beforehand = context.approval if progress.gate == "reached" else None
    if progress.phase in (Phase.CODING, Phase.QA):
        yield from publish(progress)  # the change is there to be looked at
    gate = progress.note(GateReached(phase=phase, round=progress.round, artifact=PHASES[phase].artifact or ""))
    yield gate
    complaints: list[str] = []
    while True:
        approval = beforehand or context.decider.approve(gate, complaints)
        if approval.decision == "later":
            return False
        complaints = _complaints(progress, approval)
        if not complaints:
            break
        if beforehand:
            raise ConfigError(
                f"the edited {gate.artifact}.json is not valid:\n" + "\n".join(complaints),
                hint=f"mend it in the run's folder, then {context.resume} --approve",
            )
    if approval.decision == "approved" and approval.content is not None and _is_new(progress, approval):
        yield progress.accepted(dict(approval.content))
    yield progress.note(
        GateDecided(phase=phase, round=progress.round, decision=approval.decision, words=approval.words)
    )
    return True


def _is_asked(progress: Progress) -> bool:
    """Whether there is a gate after what the phase came to: a rejection by qa goes to coding with nobody asked."""
    asked = progress.gate == "reached" or progress.phase in progress.context.config.gates
    return asked and progress.outcome != "rejected"


def _complaints(progress: Progress, approval: Approval) -> list[str]:
    """What speaks against the artifact as it was edited."""
    artifact = PHASES[progress.phase].artifact
    if approval.content is None or artifact is None:
        return []
    try:
        edited = ARTIFACTS[artifact].model_validate(dict(approval.content))
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
    if isinstance(edited, Review) and edited.verdict != progress.outcome:
        return [f"verdict: qa came to {progress.outcome}; to send the change back, reject it with words"]
    return progress.complaints(artifact, edited)


def _is_new(progress: Progress, approval: Approval) -> bool:
    known = progress.handed_on()
    return known is not None and known.model_dump(mode="json") != approval.content

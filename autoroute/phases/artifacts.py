"""The artifacts that phases hand on, validated by us: models for their form, checks for their sense.

A model's submission must fit the form exactly; a check then returns complaints in words that tell the model what
to mend. The names of the fields are a public contract (they are the arguments of the submit tools).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\r\n]*$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Id = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
Command = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]


class _Artifact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Acceptance(_Artifact):
    """One thing that must be true for the task to be done, checkable by looking or by a command."""

    id: Id
    text: Words


class Spec(_Artifact):
    """What is to be done, and how one will know that it is."""

    title: Line
    summary: Words
    requirements: list[Words] = Field(min_length=1, max_length=100)
    acceptance: list[Acceptance] = Field(min_length=1, max_length=100)
    assumptions: list[Words] = Field(max_length=100)
    out_of_scope: list[Words] = Field(max_length=100)


class Subtask(_Artifact):
    """One commit's worth of work. ``verify`` is a shell command that passes when it is done."""

    id: Id
    title: Line
    description: Words
    files: list[Line] = Field(max_length=200)
    depends_on: list[Id] = Field(max_length=50)
    acceptance: list[Id] = Field(max_length=100)
    verify: Command | None = None


class Plan(_Artifact):
    """The subtasks in an order that works, and the commands that verify the whole."""

    summary: Words
    subtasks: list[Subtask] = Field(min_length=1, max_length=50)
    verify: list[Command] = Field(max_length=20)

    def in_order(self) -> list[Subtask]:
        """The subtasks, dependencies first, otherwise as the planner listed them."""
        by_id = {subtask.id: subtask for subtask in self.subtasks}
        done: set[str] = set()
        ordered: list[Subtask] = []
        while len(ordered) < len(by_id):
            ready = next(s for s in by_id.values() if s.id not in done and done.issuperset(s.depends_on))
            done.add(ready.id)
            ordered.append(ready)
        return ordered

    def commands(self) -> list[str]:
        """Every verify command, those of the whole first, each once."""
        return list(dict.fromkeys([*self.verify, *(s.verify for s in self.subtasks if s.verify)]))


class Criterion(_Artifact):
    """Whether one acceptance criterion is met, and what shows it."""

    id: Id
    met: bool
    evidence: Words


class Issue(_Artifact):
    """Something wrong with the change, and what would mend it."""

    severity: Literal["critical", "major", "minor"]
    file: Line
    line: int | None = Field(default=None, ge=1)
    problem: Words
    fix: Words


class Review(_Artifact):
    """The verdict of qa, criterion by criterion."""

    verdict: Literal["approved", "rejected"]
    summary: Words
    criteria: list[Criterion] = Field(max_length=100)
    issues: list[Issue] = Field(max_length=100)


Artifact = Spec | Plan | Review

ARTIFACTS: dict[str, type[Spec] | type[Plan] | type[Review]] = {"spec": Spec, "plan": Plan, "review": Review}


def check_spec(spec: Spec) -> list[str]:
    """Complaints about a spec's sense."""
    return [f"acceptance: id {id!r} is used more than once" for id in _repeated(a.id for a in spec.acceptance)]


def check_plan(plan: Plan, spec: Spec) -> list[str]:
    """Complaints about a plan's sense, given the spec that it must carry out."""
    ids = [subtask.id for subtask in plan.subtasks]
    criteria = [criterion.id for criterion in spec.acceptance]
    complaints = [f"subtasks: id {repeated!r} is used more than once" for repeated in _repeated(ids)]
    for subtask in plan.subtasks:
        complaints += [
            f"subtask {subtask.id}: depends_on names {unknown!r}, which is no subtask"
            for unknown in subtask.depends_on
            if unknown not in ids
        ]
        complaints += [
            f"subtask {subtask.id}: acceptance names {unknown!r}; the spec has {', '.join(criteria)}"
            for unknown in subtask.acceptance
            if unknown not in criteria
        ]
    covered = {id for subtask in plan.subtasks for id in subtask.acceptance}
    complaints += [f"no subtask covers acceptance criterion {id!r}" for id in criteria if id not in covered]
    if not plan.verify and not any(subtask.verify for subtask in plan.subtasks):
        complaints.append("verify: give at least one command that shows that the whole works")
    try:
        TopologicalSorter({subtask.id: subtask.depends_on for subtask in plan.subtasks}).prepare()
    except CycleError as error:
        complaints.append(f"subtasks depend on each other in a circle: {' -> '.join(error.args[1])}")
    return complaints


def check_review(review: Review, spec: Spec) -> list[str]:
    """Complaints about a review's sense, given the spec that it judges by."""
    asked = [criterion.id for criterion in spec.acceptance]
    judged = [criterion.id for criterion in review.criteria]
    complaints = [f"criteria: {id!r} is judged more than once" for id in _repeated(judged)]
    complaints += [f"criteria: {id!r} is not judged" for id in asked if id not in judged]
    complaints += [f"criteria: {id!r} is not in the spec" for id in judged if id not in asked]
    unmet = [criterion.id for criterion in review.criteria if not criterion.met]
    if review.verdict == "approved" and unmet:
        complaints.append(f"verdict: approved, although {', '.join(unmet)} is not met")
    if review.verdict == "rejected" and not unmet and not review.issues:
        complaints.append("verdict: rejected, without an unmet criterion or an issue that says why")
    return complaints


def _repeated(ids: Iterable[str]) -> list[str]:
    return [id for id, count in Counter(ids).items() if count > 1]

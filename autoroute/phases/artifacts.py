"""The artifacts that phases submit: models validate their form, checks their content.

A submission must match its model exactly. A check then returns the problems, worded for the language model that must
correct them. Field names are a public contract: they are the arguments of the submit tools.
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
    """A condition that the finished task must meet, decided by reading code or running a command."""

    id: Id
    text: Words


class Spec(_Artifact):
    """What the task requires, and the criteria that show that it is done."""

    title: Line
    summary: Words
    requirements: list[Words] = Field(min_length=1, max_length=100)
    acceptance: list[Acceptance] = Field(min_length=1, max_length=100)
    assumptions: list[Words] = Field(max_length=100)
    out_of_scope: list[Words] = Field(max_length=100)


class Subtask(_Artifact):
    """A part of the plan that becomes one commit. ``verify`` is a shell command that passes when it is done."""

    id: Id
    title: Line
    description: Words
    files: list[Line] = Field(max_length=200)
    depends_on: list[Id] = Field(max_length=50)
    acceptance: list[Id] = Field(max_length=100)
    verify: Command | None = None


class Plan(_Artifact):
    """The subtasks in working order, and the commands that verify the whole."""

    summary: Words
    subtasks: list[Subtask] = Field(min_length=1, max_length=50)
    verify: list[Command] = Field(max_length=20)
    known_failures: list[Line] = Field(default_factory=list, max_length=500)
    """Names of tests that fail before the work, for reasons outside the task."""

    def ordered_subtasks(self) -> list[Subtask]:
        """Return the subtasks, dependencies first, otherwise in the planner's order."""
        by_id = {subtask.id: subtask for subtask in self.subtasks}
        done: set[str] = set()
        ordered: list[Subtask] = []
        while len(ordered) < len(by_id):
            ready = next(s for s in by_id.values() if s.id not in done and done.issuperset(s.depends_on))
            done.add(ready.id)
            ordered.append(ready)
        return ordered

    def verify_commands(self) -> list[str]:
        """Return every verify command once, those of the whole plan first."""
        return list(dict.fromkeys([*self.verify, *(s.verify for s in self.subtasks if s.verify)]))


class Criterion(_Artifact):
    """The judgment of one acceptance criterion, with evidence."""

    id: Id
    met: bool
    evidence: Words


class Issue(_Artifact):
    """A defect in the change, and how to fix it."""

    severity: Literal["critical", "major", "minor"]
    file: Line
    line: int | None = Field(default=None, ge=1)
    problem: Words
    fix: Words


class Review(_Artifact):
    """The verdict of qa, with a judgment of each criterion."""

    verdict: Literal["approved", "rejected"]
    summary: Words
    criteria: list[Criterion] = Field(max_length=100)
    issues: list[Issue] = Field(max_length=100)


Artifact = Spec | Plan | Review

ARTIFACTS: dict[str, type[Spec] | type[Plan] | type[Review]] = {"spec": Spec, "plan": Plan, "review": Review}


def check_spec(spec: Spec) -> list[str]:
    """Return the problems in the content of a spec."""
    return [f"acceptance: id {id!r} is used more than once" for id in _repeated(a.id for a in spec.acceptance)]


def check_plan(plan: Plan, spec: Spec) -> list[str]:
    """Return the problems in the content of a plan for this spec."""
    ids = [subtask.id for subtask in plan.subtasks]
    criteria = [criterion.id for criterion in spec.acceptance]
    problems = [f"subtasks: id {repeated!r} is used more than once" for repeated in _repeated(ids)]
    for subtask in plan.subtasks:
        problems += [
            f"subtask {subtask.id}: depends_on has {unknown!r}, which is not the id of a subtask"
            for unknown in subtask.depends_on
            if unknown not in ids
        ]
        problems += [
            f"subtask {subtask.id}: acceptance has {unknown!r}, which is not one of the spec's: {', '.join(criteria)}"
            for unknown in subtask.acceptance
            if unknown not in criteria
        ]
    covered = {id for subtask in plan.subtasks for id in subtask.acceptance}
    problems += [f"no subtask covers acceptance criterion {id!r}" for id in criteria if id not in covered]
    if not plan.verify and not any(subtask.verify for subtask in plan.subtasks):
        problems.append("verify: give at least one command that checks the whole")
    try:
        TopologicalSorter({subtask.id: subtask.depends_on for subtask in plan.subtasks}).prepare()
    except CycleError as error:
        problems.append(f"the dependencies of the subtasks form a cycle: {' -> '.join(error.args[1])}")
    return problems


def check_review(review: Review, spec: Spec) -> list[str]:
    """Return the problems in the content of a review against this spec."""
    required = [criterion.id for criterion in spec.acceptance]
    judged = [criterion.id for criterion in review.criteria]
    problems = [f"criteria: id {id!r} is judged more than once" for id in _repeated(judged)]
    problems += [f"criteria: id {id!r} is not judged" for id in required if id not in judged]
    problems += [f"criteria: id {id!r} is not in the spec" for id in judged if id not in required]
    unmet = [criterion.id for criterion in review.criteria if not criterion.met]
    if review.verdict == "approved" and unmet:
        problems.append(f"verdict: cannot be approved, because {', '.join(unmet)} is not met")
    if review.verdict == "rejected" and not unmet and not review.issues:
        problems.append("verdict: cannot be rejected without an unmet criterion or an issue")
    return problems


def _repeated(ids: Iterable[str]) -> list[str]:
    return [id for id, count in Counter(ids).items() if count > 1]

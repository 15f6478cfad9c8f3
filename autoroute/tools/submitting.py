"""`submit_spec`, `submit_plan`, `submit_review`: a phase hands on its artefact, checked for form and sense."""

from __future__ import annotations

from autoroute.phases.artefacts import Plan, Review, Spec
from autoroute.tools.calls import Outcome, Refused, Step, Tool, ToolContext

_Artefact = Spec | Plan | Review


def _row(kind: str, model: type[_Artefact], description: str) -> Tool[_Artefact]:
    def prepare(given: _Artefact, context: ToolContext) -> Step:
        return Step(given.title if isinstance(given, Spec) else given.summary, lambda: _submit(kind, given, context))

    return Tool(
        name=f"submit_{kind}",
        description=description,
        arguments=model,
        read_only=False,
        repeatable=True,
        prepare=prepare,
        literal=False,
    )


def _submit(kind: str, artefact: _Artefact, context: ToolContext) -> Outcome:
    complaints = context.check(kind, artefact)
    if complaints:
        raise Refused("\n".join(complaints))
    return Outcome(f"the {kind} is accepted", artefact=artefact.model_dump(mode="json"))


SUBMIT_SPEC = _row(
    "spec",
    Spec,
    "Hand on the specification. acceptance: criteria that can be decided by reading code or running a command, "
    "each with a short id (A1, A2, …). requirements, assumptions and out_of_scope are lists, which may be empty "
    "except requirements.",
)
SUBMIT_PLAN = _row(
    "plan",
    Plan,
    "Hand on the plan. subtasks: one commit each, in working order, with short ids (S1, S2, …); files: paths it will "
    "touch; depends_on: ids of subtasks; acceptance: ids of the specification's criteria it serves; verify: a shell "
    "command that passes when it is done. The plan's own verify: shell commands for the whole.",
)
SUBMIT_REVIEW = _row(
    "review",
    Review,
    "Hand on the review. verdict: approved only when every criterion is met; criteria: each of the specification's "
    "acceptance ids, met or not, with evidence; issues: what is wrong, where, how severe, and what would mend it.",
)

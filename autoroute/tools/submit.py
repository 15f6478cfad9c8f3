"""`submit_spec`, `submit_plan`, `submit_review`: a phase hands on its artifact, checked for form and sense."""

from __future__ import annotations

from autoroute.phases.artifacts import Plan, Review, Spec
from autoroute.tools.tool import Step, Tool, ToolContext, ToolError, ToolOutcome

_Artifact = Spec | Plan | Review


def _row(kind: str, model: type[_Artifact], description: str) -> Tool[_Artifact]:
    def prepare(given: _Artifact, context: ToolContext) -> Step:
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


def _submit(kind: str, artifact: _Artifact, context: ToolContext) -> ToolOutcome:
    complaints = context.check(kind, artifact)
    if complaints:
        raise ToolError("\n".join(complaints))
    return ToolOutcome(f"the {kind} is accepted", artifact=artifact.model_dump(mode="json"))


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

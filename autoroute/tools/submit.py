"""``submit_spec``, ``submit_plan``, ``submit_review``: hand over a phase's artifact after form and content checks."""

from __future__ import annotations

from autoroute.phases.artifacts import Plan, Review, Spec
from autoroute.tools.tool import Step, Tool, ToolContext, ToolError, ToolOutcome

_Artifact = Spec | Plan | Review


def _define(kind: str, model: type[_Artifact], description: str) -> Tool[_Artifact]:
    def prepare(artifact: _Artifact, context: ToolContext) -> Step:
        summary = artifact.title if isinstance(artifact, Spec) else artifact.summary
        return Step(summary, lambda: _submit(kind, artifact, context))

    return Tool(
        name=f"submit_{kind}",
        description=description,
        arguments=model,
        read_only=False,
        repeatable=True,
        prepare=prepare,
        needs_exact_arguments=False,
    )


def _submit(kind: str, artifact: _Artifact, context: ToolContext) -> ToolOutcome:
    problems = context.check(kind, artifact)
    if problems:
        raise ToolError("\n".join(problems))
    return ToolOutcome(f"{kind} accepted", artifact=artifact.model_dump(mode="json"))


SUBMIT_SPEC = _define(
    "spec",
    Spec,
    "Submit the specification. acceptance: criteria that can be decided by reading code or running a command, "
    "each with a short id (A1, A2, …). requirements, assumptions and out_of_scope are lists; only requirements "
    "must not be empty.",
)
SUBMIT_PLAN = _define(
    "plan",
    Plan,
    "Submit the plan. subtasks: one commit each, in working order, with short ids (S1, S2, …); files: paths it will "
    "touch; depends_on: ids of subtasks; acceptance: ids of the specification's criteria it serves; verify: a shell "
    "command that passes when it is done. The plan's own verify: shell commands for the whole. known_failures, "
    "optional: names of tests that fail before the work for reasons outside the task, exactly as reported to you.",
)
SUBMIT_REVIEW = _define(
    "review",
    Review,
    "Submit the review. verdict: approved only when every criterion is met; criteria: each of the specification's "
    "acceptance ids, met or not, with evidence; issues: what is wrong, where, how severe, and how to fix it.",
)

"""``ask``: put a question to the user, or to the policy that answers in the user's place."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolOutcome

_Option = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Ask(Arguments):
    """Arguments of ``ask``."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)] = Field(
        description="One question, with what is needed to answer it."
    )
    options: list[_Option] | None = Field(default=None, max_length=10, description="Answers to choose from.")


def _prepare(args: Ask, context: ToolContext) -> Step:
    options = tuple(args.options or ())
    return Step(args.question, lambda: ToolOutcome(context.ask(args.question, options)))


# Not read-only, although it changes nothing: read-only calls run in parallel, and two prompts would mix on a terminal.
ASK = Tool(
    name="ask",
    description="Ask the user what neither the task nor the repository answers. The user may be absent.",
    arguments=Ask,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    needs_exact_arguments=False,
)

"""`ask`: a question to whoever answers them, a person or a policy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from autoroute.tools.tool import Arguments, Step, Tool, ToolContext, ToolOutcome

_Option = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Ask(Arguments):
    """What `ask` takes."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)] = Field(
        description="One question, with what is needed to answer it."
    )
    options: list[_Option] | None = Field(default=None, max_length=10, description="Answers to choose from.")


def _prepare(given: Ask, context: ToolContext) -> Step:
    options = tuple(given.options or ())
    return Step(given.question, lambda: ToolOutcome(context.ask(given.question, options)))


# Not read-only, although it changes nothing: two questions at once would talk over each other.
ASK = Tool(
    name="ask",
    description="Ask the user what neither the task nor the repository answers. There may be nobody to answer.",
    arguments=Ask,
    read_only=False,
    repeatable=True,
    prepare=_prepare,
    literal=False,
)

"""Questions at the terminal."""

from __future__ import annotations

import sys

from autoroute.engine.policy import Question, nobody_to_ask
from autoroute.render import Renderer
from autoroute.render.clean import clean


def ask_at_terminal(renderer: Renderer, question: Question) -> str:
    """Put a model's question to the person at the terminal; an empty answer leaves the decision to the model."""
    with renderer.pause():
        print(f"\n{question.phase} asks: {clean(question.text)}", file=sys.stderr)
        for number, option in enumerate(question.options, start=1):
            print(f"  {number}. {clean(option)}", file=sys.stderr)
        choose = "number or words" if question.options else "words"
        print(f"answer ({choose}; empty = let the model decide): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
    if answer.isdigit() and 1 <= int(answer) <= len(question.options):
        return question.options[int(answer) - 1]
    return answer or nobody_to_ask(question)

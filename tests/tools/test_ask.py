from __future__ import annotations

from dataclasses import replace

import pytest

from autoroute.errors import Cancelled
from tests.tools.conftest import Harness


def test_the_answer_is_returned_unchanged(harness: Harness) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def answer(question: str, options: tuple[str, ...]) -> str:
        asked.append((question, options))
        return "the second"

    answering = replace(harness, ask=answer)
    assert answering.text("ask", question=" Which one? ", options=["a", "b"]) == "the second"
    assert answering.text("ask", question="Why?") == "the second"
    assert asked == [("Which one?", ("a", "b")), ("Why?", ())]


def test_a_canceled_question_ends_the_run(harness: Harness) -> None:
    def leave(question: str, options: tuple[str, ...]) -> str:
        raise Cancelled("interrupted")

    with pytest.raises(Cancelled):
        replace(harness, ask=leave).call("ask", question="Why?")

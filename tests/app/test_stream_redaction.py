"""What is shown of a reply as it comes: all of it, in words, and no key, however it was cut."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from autoroute.app.stream_redaction import StreamRedaction
from autoroute.events import Event, Notice, TurnUpdate
from autoroute.redaction import Redactor
from autoroute.routing import Phase

KEY = "sk-proj-0123456789abcdefghijklmnop"


def update(text: str, turn: int = 1) -> TurnUpdate:
    return TurnUpdate(phase=Phase.CODING, turn=turn, kind="text", text=text)


def show(events: Sequence[Event]) -> list[Event]:
    watching = StreamRedaction(Redactor([KEY]).redact)
    return [shown for event in events for shown in watching.take(event)]


def words(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TurnUpdate))


END = Notice(level="info", text="the end")


@pytest.mark.parametrize("seed", range(20))
def test_a_key_in_pieces_is_shown_in_none(seed: int) -> None:
    chance = random.Random(seed)
    text = f"The key is {KEY}, or {KEY[::-1]}.\nIt is {KEY} "
    cuts = sorted(chance.sample(range(1, len(text)), 12))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = show([*map(update, pieces), END])
    assert words(shown) == "The key is [redacted], or [redacted].\nIt is [redacted] "
    assert shown[-1] == END


def test_words_are_shown_as_they_come_and_the_last_one_with_the_end() -> None:
    shown = show([update("one tw"), update("o three"), END])
    assert shown == [update("one "), update("two "), update("three"), END]


def test_another_turn_or_kind_ends_a_word() -> None:
    assert show([update("one", 1), update("two", 2), END]) == [update("one", 1), update("two", 2), END]


def test_a_word_without_end_is_not_held_back_for_ever() -> None:
    assert words(show([update("x" * 900)] * 3)) == "x" * 2_700


def test_text_without_spaces_is_shown_as_it_comes() -> None:
    assert show([update("这是一个"), update("句子。"), END]) == [update("这是一个"), update("句子。"), END]
    assert words(show([update(f"密钥是{KEY[:9]}"), update(f"{KEY[9:]}。完"), END])) == "密钥是[redacted]。完"

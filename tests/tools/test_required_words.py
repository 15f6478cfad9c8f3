"""A file without any of the words has no match, for whatever pattern."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.tools.required_words import find_required_words
from tests.tools.test_line_search import PATTERNS, TEXT

TOKENS = [
    *(
        "abc",
        "def",
        "x",
        "abcabc",
        ".",
        "\\.",
        "\\d",
        "\\b",
        "[abc]",
        "[^]a]",
        "[\\]x]",
        "(",
        ")",
        "(?:",
        "|",
        "*",
        "+",
    ),
    *("?", "{2}", "{0,3}", "{", "}", "^", "$", "\\n", "\\x41", "\\\\", "é", "ſ", "(?i)", "(?=", "(?!", " ", "-", "\\-"),
]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("def total", ("def total",)),
        (r"def\s+total_of\(", ("total_of(",)),
        ("class (Alpha|Beta)Gamma", ("class ",)),
        ("alpha|beta", ("alpha", "beta")),
        ("alpha|b", ()),
        ("colou?r", ("colo",)),
        ("abcd*ef", ("abc",)),
        ("abcd+ef", ("abc",)),
        ("abcd{0}ef", ("abc",)),
        (r"\w+\d*", ()),
        ("[abc]defg", ("defg",)),
        ("(?i)alpha", ()),
        ("Straße", ("Stra",)),
        (r"import\ os", ("import os",)),
    ],
)
def test_words_that_every_match_contains(pattern: str, words: tuple[str, ...]) -> None:
    assert find_required_words(pattern, ignore_case=False) == words


def test_nothing_is_required_where_case_is_ignored() -> None:
    assert find_required_words("stop", ignore_case=True) == ()


def check(pattern: str, line: str) -> None:
    words = find_required_words(pattern, ignore_case=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = re.search(pattern, line)
        except (re.error, OverflowError):
            return
    assert not words or not found or any(word in line for word in words), (pattern, line, words)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_match_is_missed_in_a_text(pattern: str) -> None:
    for line in TEXT.splitlines():
        check(pattern, line)


@given(
    st.lists(st.sampled_from(TOKENS), max_size=8).map("".join),
    st.lists(st.sampled_from(["abc", "def", "x", "b", ".", "1", "\\", "é", "s", "A", "-", " "]), max_size=10).map(
        "".join
    ),
)
def test_no_match_of_any_pattern_is_missed(pattern: str, line: str) -> None:
    check(pattern, line)

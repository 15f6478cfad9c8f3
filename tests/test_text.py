from __future__ import annotations

import pytest

from autoroute.text import did_you_mean, find_similar, join_first, truncate, truncate_middle


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), ("abc", "abc"), ("abcd", "abcd"), ("abcde", "abc…"), ("äöüß€", "äöü…")]
)
def test_truncate_puts_an_ellipsis_in_place_of_the_end(text: str, shown: str) -> None:
    assert truncate(text, 4) == shown


def test_truncate_middle_keeps_both_ends_and_counts_what_it_left_out() -> None:
    assert truncate_middle("a" * 10, 10) == "a" * 10
    assert truncate_middle("abcdefghij", 5) == "ab\n[... 6 characters left out ...]\nij"
    assert truncate_middle("abcdefghij", 4, "bytes") == "ab\n[... 6 bytes left out ...]\nij"


def test_truncate_middle_to_one_character_leaves_everything_out() -> None:
    assert truncate_middle("abc", 1) == "\n[... 3 characters left out ...]\n"


def test_join_first_counts_the_items_that_it_does_not_name() -> None:
    assert join_first(["a", "b", "c"], 2, omitted=4) == "a, b, and 5 more"
    assert join_first([], 2, omitted=1) == "and 1 more"
    assert join_first([], 2) == ""
    assert join_first(["a", "b"], 2) == "a, b"
    assert join_first(["a", "b", "c"], 2) == "a, b, and 1 more"
    assert join_first(["a", "b", "c", "d"], 1, "; ") == "a; and 3 more"


def test_did_you_mean_suggests_similar_names_the_most_similar_first() -> None:
    known = ["planning", "plan", "coding", "qa"]
    assert did_you_mean("plann", known) == "did you mean plan or planning?"
    assert did_you_mean("plann", known, limit=1) == "did you mean plan?"


def test_did_you_mean_falls_back_to_another_hint() -> None:
    assert did_you_mean("xyzzy", ["spec"]) == ""
    assert did_you_mean("xyzzy", iter(["spec"]), otherwise="known phases: spec") == "known phases: spec"


def test_find_similar_compares_the_beginning_of_a_very_long_name_only() -> None:
    assert find_similar("coding" + " " * 1_000_000, ["coding"], cutoff=0.1) == ["coding"]
    assert find_similar("x" * 1_000_000, ["coding"]) == []

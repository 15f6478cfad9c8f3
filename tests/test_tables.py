from __future__ import annotations

from autoroute.tables import merge


def test_merge_replaces_values_table_by_table() -> None:
    below = {"phases": {"coding": {"model": "glm-4.7", "effort": "high"}}, "limits": {"max_rounds": 3}}
    above = {"phases": {"coding": {"model": "sonnet"}, "qa": {"model": "opus"}}}
    assert merge(below, above) == {
        "phases": {"coding": {"model": "sonnet", "effort": "high"}, "qa": {"model": "opus"}},
        "limits": {"max_rounds": 3},
    }


def test_merge_leaves_its_arguments_as_they_were() -> None:
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(below, above)
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_value_and_a_table_replace_each_other() -> None:
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}
    assert merge({"a": {"b": 2}}, {"a": 1}) == {"a": 1}


def test_a_list_replaces_a_list_unless_its_key_says_to_join_them() -> None:
    below, above = {"order": ["a"], "gates": ["spec"]}, {"order": ["b"], "gates": ["qa"]}
    assert merge(below, above, lists_to_join=("gates",)) == {"order": ["b"], "gates": ["spec", "qa"]}
    assert merge({}, above, lists_to_join=("gates",)) == above

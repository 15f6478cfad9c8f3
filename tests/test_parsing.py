"""Limited parsing: hostile JSON and TOML is refused quickly and with a short message."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoroute.parsing import RESPONSE_LIMITS, ParseLimits, Unreadable, read_json, read_object, read_toml

K = 256 * 1024
LIMIT_SECONDS = 60.0
"""CPU time. Without limits, a hostile text takes minutes."""

TOML_BOMBS = {
    "a key with many dots": "a." * (K // 2 - 10) + "a=1",
    "quoted": '"a".' * (K // 4 - 10) + "a=1",
    "with spaces": "a . " * (K // 4 - 10) + "a=1",
    "a table": "[" + "a." * (K // 2 - 10) + "a]",
    "behind a string of four quotes": "x = {a='''q'''', " + "a." * (K // 2 - 30) + "a=1}",
    "behind four double quotes": 'x = {a="""q"""", ' + "a." * (K // 2 - 30) + "a=1}",
    "behind an escaped quote": 'x = {a="\\"", ' + "a." * (K // 2 - 30) + "a=1}",
    "lists in lists": "a=" + "[" * (K - 5),
    "lists that are closed": "a=" + "[" * 200 + "]" * 200,
    "tables in tables": "a=" + "{a=" * 90 + "1" + "}" * 90,
    "many values": "a=[" + "1," * (K // 2 - 10) + "]",
    "many tables": "[[a]]\n" * (K // 6),
    "a long number": "a=" + "9" * 5_000,
    "a large number": "a=0x" + "f" * 5_000,
    "infinity": "a=inf",
    "no number": "a=[{b=-nan}]",
    "long": "#" * (K + 1),
}
JSON_BOMBS = {
    "deep": "[" * 1_000_000,
    "deep objects": '{"a":' * 200_000,
    "wide": "{" + ",".join(f'"{number}":1' for number in range(20_000)) + "}",
    "many lists": "[" + "[]," * 300_000 + "[]]",
    "many objects": '{"a": [' + "{}," * 300_000 + "{}]}",
    "lists that do not end": "[[]," * 200 + '"a",' * 200_000,
    "text that does not end": "[[]," * 200 + '"' + "a" * 800_000,
    "twice": '{"a": 1, "a": 2}',
    "twice inside": '{"a": [{"b": 1, "b": 2}]}',
    "a long number": "9" * 5_000,
    "a large number": "1e999",
    "no number": "[NaN]",
    "minus infinity": '{"a": -Infinity}',
    "long": '"' + "é" * 600_000 + '"',
    "no UTF-8": b'"\xff"',
    "cut off": '{"a": ',
    "nothing": "",
}


@pytest.mark.parametrize("text", TOML_BOMBS.values(), ids=TOML_BOMBS)
def test_a_toml_bomb_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(Unreadable) as caught:
        read_toml(text)
    assert time.process_time() - began < LIMIT_SECONDS
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", JSON_BOMBS.values(), ids=JSON_BOMBS)
def test_a_json_bomb_is_refused_at_once(text: str | bytes) -> None:
    began = time.process_time()
    with pytest.raises(Unreadable) as caught:
        read_json(text)
    assert time.process_time() - began < LIMIT_SECONDS
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("[NaN, Infinity, 1e999, 1]", [None, None, None, 1]),
        ("[" + "9" * 5_000 + "]", [None]),
        ('"\\ud800"', "\ud800"),
        (b'\xef\xbb\xbf{"a": [1.5, true, null]}', {"a": [1.5, True, None]}),
    ],
)
def test_a_response_keeps_the_last_of_two_values_and_reads_an_unusable_number_as_null(
    text: str | bytes, value: Any
) -> None:
    assert read_json(text, RESPONSE_LIMITS) == value


@pytest.mark.parametrize("one", ["[],", "{},", '[""],', "[0],"])
def test_the_limit_of_names_also_limits_lists_and_objects(one: str) -> None:
    within = "[" + one * (RESPONSE_LIMITS.names - 2) + "[]]"
    assert len(read_json(within, RESPONSE_LIMITS)) == RESPONSE_LIMITS.names - 1
    with pytest.raises(Unreadable, match=f"more than {RESPONSE_LIMITS.names} lists and objects"):
        read_json("[" + one + within.removeprefix("["), RESPONSE_LIMITS)


def test_brackets_and_colons_inside_strings_do_not_count() -> None:
    text = '{"a": "' + "[{:" * 20_000 + '\\""}'
    assert read_json(text)["a"].startswith("[{:[{:")
    assert read_object(text, RESPONSE_LIMITS)["a"].endswith('{:"')


def test_dots_outside_keys_do_not_count() -> None:
    text = 'a = \'1.2.3.4.5.6.7.8.9.10.11\'\n# a.b.c.d.e.f.g.h.i.j.k\nb = 1.5\nc.d.e = """x.y.z.a.b.c.d.e.f.g""""\n'
    assert read_toml(text) == {"a": "1.2.3.4.5.6.7.8.9.10.11", "b": 1.5, "c": {"d": {"e": 'x.y.z.a.b.c.d.e.f.g"'}}}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(JSON_VALUES)
def test_a_value_within_the_limits_is_returned_unchanged(value: Any) -> None:
    text = json.dumps(value)
    assert read_json(text) == read_json(text.encode(), RESPONSE_LIMITS) == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='[]{}":,\\ 019.eE+-NaInfty\ud800é', max_size=60), st.booleans())
def test_any_text_is_a_value_or_raises_unreadable(text: str, lenient: bool) -> None:
    try:
        value = read_json(text, ParseLimits(bytes=200, depth=5, names=5, lenient=lenient))
    except Unreadable:
        return
    assert not isinstance(value, float) or math.isfinite(value)

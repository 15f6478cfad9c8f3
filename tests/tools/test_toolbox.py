from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from anthropic.types import ToolParam
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionToolParam
from pydantic import TypeAdapter

from autoroute.errors import WorkspaceError
from autoroute.phases import PHASES
from autoroute.tools import _TOOLS, open_toolbox
from autoroute.tools.arguments import read_arguments
from autoroute.tools.schema import json_schema
from tests.tools.conftest import Harness

TOOLS = list(_TOOLS)
KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "description", "pattern"}
BOUNDS = {"minimum", "minLength", "minItems"}


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json_schema(_TOOLS[name].arguments))
    return schema


def schemas_in(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from schemas_in(inner)
    if "items" in schema:
        yield from schemas_in(schema["items"])


def least(schema: dict[str, Any]) -> Any:
    """The least value that a schema allows."""
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"type": "object"}:
            return {name: least(schema["properties"][name]) for name in schema.get("required", [])}
        case {"type": "array"}:
            return [least(schema["items"])] * schema.get("minItems", 0)
        case {"type": "integer"}:
            return schema.get("minimum", 0)
        case {"type": "boolean"}:
            return False
        case {"type": "string"}:
            return "a" * schema.get("minLength", 1)
    raise AssertionError(schema)


ARGUMENTS = [(name, argument) for name in TOOLS for argument in schema_of(name)["properties"]]
REQUIRED = [(name, argument) for name in TOOLS for argument in schema_of(name)["required"]]


def test_every_phase_has_its_tools(harness: Harness) -> None:
    for phase in PHASES.values():
        assert [spec.name for spec in open_toolbox(phase.tools, harness.context).specs] == list(phase.tools)


@pytest.mark.parametrize("name", TOOLS)
def test_the_schema_uses_few_keywords(name: str) -> None:
    schema = schema_of(name)
    assert schema["type"] == "object"
    for inner in schemas_in(schema):
        assert inner["type"] in {"object", "array", "string", "integer", "boolean"}
        assert set(inner) <= KEYWORDS | BOUNDS
        assert set(inner.get("required", [])) <= set(inner.get("properties", {}))
        if inner["type"] == "object":
            assert inner["additionalProperties"] is False


@pytest.mark.parametrize("name", TOOLS)
def test_the_schema_is_canonical_json(name: str, harness: Harness) -> None:
    (spec,) = open_toolbox([name], harness.context).specs
    data = json.loads(spec.parameters)
    assert spec.parameters == json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("name", TOOLS)
def test_the_vendors_types_accept_the_description_of_a_tool(name: str, harness: Harness) -> None:
    (spec,) = open_toolbox([name], harness.context).specs
    schema = json.loads(spec.parameters)
    assert spec.description
    anthropic = {"name": spec.name, "description": spec.description, "input_schema": schema}
    TypeAdapter(ToolParam).validate_python(anthropic)
    function = {"name": spec.name, "description": spec.description, "parameters": schema}
    TypeAdapter(ChatCompletionToolParam).validate_python({"type": "function", "function": function})


@pytest.mark.parametrize("name", TOOLS)
def test_the_smallest_value_that_the_schema_allows_is_accepted(name: str) -> None:
    tool = _TOOLS[name]
    value = least(schema_of(name))
    assert read_arguments(json.dumps(value), tool.arguments).model_dump(exclude_unset=True) == value


@pytest.mark.parametrize(("name", "argument"), REQUIRED)
def test_a_missing_argument_is_named(name: str, argument: str, harness: Harness) -> None:
    arguments = {key: value for key, value in least(schema_of(name)).items() if key != argument}
    prepared = harness.prepare(name, arguments)
    assert prepared.intent is None
    assert prepared.run().is_error
    assert f"{argument}: missing" in prepared.run().text.splitlines()


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_a_mistyped_argument_is_named(name: str, argument: str, harness: Harness) -> None:
    outcome = harness.call(name, **{**least(schema_of(name)), argument: {"of": "another kind"}})
    assert outcome.is_error
    assert outcome.text.startswith(f"{argument}: should be ")
    assert outcome.text.endswith("not an object")


@pytest.mark.parametrize("name", TOOLS)
def test_an_unknown_argument_is_rejected_with_the_known_ones(name: str, harness: Harness) -> None:
    known = ", ".join(schema_of(name)["properties"] and _TOOLS[name].arguments.model_fields)
    outcome = harness.call(name, **least(schema_of(name)), zzz=1)
    assert outcome.is_error
    assert outcome.text == f"zzz: unknown argument (known arguments: {known})"


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{", '{"a":', "hello", '"text"', "1e999", "NaN"])
def test_invalid_arguments_are_an_error_of_a_call_with_the_same_properties(
    name: str, text: str, harness: Harness
) -> None:
    prepared = harness.prepare(name, text)
    assert prepared.run().is_error
    assert prepared.read_only is _TOOLS[name].read_only
    assert prepared.summary == name


@pytest.mark.parametrize("name", TOOLS)
def test_the_summary_is_one_short_line(name: str, harness: Harness) -> None:
    noise = "first\nsecond\r\x1b[31m\x85\u2028" + "x" * 300
    texts = {
        key: noise for key, schema in schema_of(name)["properties"].items() if schema == {**schema, "type": "string"}
    }
    for arguments in ({**least(schema_of(name)), **texts}, {}):
        summary = harness.prepare(name, arguments).summary
        assert summary.startswith(name)
        assert len(summary) <= 120
        assert summary.isprintable()


def test_an_unknown_tool_is_answered_with_the_known_ones(harness: Harness) -> None:
    prepared = harness.prepare("str_replace", {})
    assert prepared.run().is_error
    assert prepared.run().text == f"unknown tool 'str_replace'; the tools are {', '.join(TOOLS)}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_exhausted_machine_resources_end_the_run(harness: Harness, number: int) -> None:
    def fail(question: str, options: tuple[str, ...]) -> str:
        raise OSError(number, "it is so", "/x/y")

    with pytest.raises(WorkspaceError, match="/x/y: it is so"):
        replace(harness, ask=fail).call("ask", question="Why?")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(13, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (ZeroDivisionError("secret"), "the tool failed with ZeroDivisionError: this is a bug in autoroute"),
    ],
)
def test_a_failure_inside_a_tool_is_a_result(error: Exception, text: str, harness: Harness) -> None:
    def fail(question: str, options: tuple[str, ...]) -> str:
        raise error

    message = replace(harness, ask=fail).error("ask", question="Why?")
    assert message.startswith(text)
    assert "secret" not in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def hostile_arguments(draw: st.DrawFn, name: str) -> str:
    """Free text, free JSON, or a valid call with some of its values replaced, cut at any place."""
    if draw(st.booleans()):
        return draw(st.text(max_size=40) | JSON.map(json.dumps))
    arguments = least(schema_of(name))
    for argument in draw(st.lists(st.sampled_from(list(schema_of(name)["properties"])), max_size=3)):
        arguments[argument] = draw(JSON)
    text = json.dumps(arguments)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@pytest.mark.parametrize("name", TOOLS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_arguments_give_a_result_that_can_be_sent(name: str, harness: Harness, data: st.DataObject) -> None:
    prepared = harness.prepare(name, data.draw(hostile_arguments(name)))
    outcome = prepared.run()
    assert outcome.text.encode()
    assert prepared.summary.encode()
    assert "a bug in autoroute" not in outcome.text

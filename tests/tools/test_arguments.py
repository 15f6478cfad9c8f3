from __future__ import annotations

import json

import pytest

from autoroute.phases.artifacts import Plan
from autoroute.tools.arguments import read_arguments
from autoroute.tools.bash import Bash
from autoroute.tools.edit import Edit
from autoroute.tools.read import Read
from autoroute.tools.tool import ToolError


def complaint(text: str, model: type[Read] | type[Edit] | type[Bash] | type[Plan] = Read) -> str:
    with pytest.raises(ToolError) as caught:
        read_arguments(text, model)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"path": "a", "path": "b"}', "the arguments are ambiguous: path is given more than once"),
        ('{"path": "a", "limit": NaN}', "the arguments are not valid JSON: NaN is not allowed"),
        ('{"path": "a", "limit": -Infinity}', "the arguments are not valid JSON: -Infinity is not allowed"),
        ('{"path": "a", "limit": 1e400}', "the arguments are not valid: the number 1e400 is too large"),
        (
            '{"path": "a", "limit": ' + "9" * 5000 + "}",
            f"the arguments are not valid: the number {'9' * 20}… is too large",
        ),
        ('{"path": ' + "[" * 100_000, "the arguments are nested more than 64 deep"),
        ('{"path": "' + "a" * 1024 * 1024 + '"}', "the arguments are longer than 1 MiB; do it in smaller steps"),
        ('{"path": "' + "é" * 600 * 1024 + '"}', "the arguments are longer than 1 MiB; do it in smaller steps"),
        (json.dumps({f"k{n}": 1 for n in range(10_001)}), "the arguments are too large (more than 10000 names)"),
        ('{"path": "\\ud800"}', "path: contains half of a surrogate pair, which is not a valid character"),
        ('{"path": "\ud800"}', "path: contains half of a surrogate pair, which is not a valid character"),
        ("[]", "the arguments are a list, not an object; send the complete call again"),
        ("", "path: missing"),
        ("  \n", "path: missing"),
        ('{"path": "a", "limit": 0}', "limit: should be greater than or equal to 1, not 0"),
        ('{"path": "a", "limit": true}', "limit: should be a valid integer, not true or false"),
        ('{"path": "a", "limit": "ten"}', "limit: should be a valid integer, not text"),
        ('{"path": ""}', 'path: should have at least 1 character, not ""'),
        ('{"path": null}', "path: should be text, not null"),
    ],
)
def test_an_error_names_the_argument_and_what_was_expected(text: str, expected: str) -> None:
    assert complaint(text) == expected


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    nested = "[" * 500 + '\\"' + "{" * 500
    assert read_arguments(f'{{"path": "{nested}"}}', Read).path == nested.replace("\\", "")


def test_truncated_json_is_reported_with_its_position() -> None:
    assert complaint('{"path": "a", "limit": ') == (
        "the arguments are not valid JSON: Expecting value at line 1, column 24; send the complete call again"
    )


@pytest.mark.parametrize(
    ("model", "unknown", "hint"),
    [
        (Read, "file_path", "did you mean path?"),
        (Read, "ofset", "did you mean offset?"),
        (Edit, "old_string", "did you mean old?"),
        (Edit, "new_str", "did you mean new?"),
        (Bash, "timeout_ms", "did you mean timeout?"),
    ],
)
def test_an_unknown_argument_is_rejected_with_a_suggestion(
    model: type[Read] | type[Edit] | type[Bash], unknown: str, hint: str
) -> None:
    line = next(line for line in complaint(json.dumps({unknown: "1"}), model).splitlines() if unknown in line)
    assert line.startswith(f"{unknown}: unknown argument; {hint}")


@pytest.mark.parametrize("value", ['"20"', "20.0", '" 20 "', '"20.0"', "20"])
def test_a_number_may_be_quoted(value: str) -> None:
    assert read_arguments(f'{{"path": "a", "offset": {value}}}', Read).offset == 20


def test_null_equals_a_missing_optional_argument() -> None:
    assert read_arguments('{"path": "a", "offset": null}', Read) == read_arguments('{"path": "a"}', Read)


@pytest.mark.parametrize(("value", "expected"), [('"true"', True), ('"False"', False), ("true", True)])
def test_a_flag_may_be_quoted(value: str, expected: bool) -> None:
    text = f'{{"path": "a", "old": "b", "new": "c", "replace_all": {value}}}'
    assert read_arguments(text, Edit).replace_all is expected


def test_the_number_of_reported_problems_is_bounded() -> None:
    subtask = {"id": "bad id", "title": "", "surprise": 1}
    lines = complaint(json.dumps({"summary": "s", "verify": [], "subtasks": [subtask] * 50}), Plan).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("subtasks[0].id: ")
    assert lines[-1] == "and 330 more"


def test_argument_names_with_control_characters_are_escaped() -> None:
    assert complaint('{"path": "a", "x\\ny": 1}').splitlines() == [
        '"x\\ny": unknown argument (known arguments: path, offset, limit)'
    ]

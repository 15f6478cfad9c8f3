"""Task files: title, text, settings and errors."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.config.task import read_task
from autoroute.errors import TaskError


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Greet\n\nWrite it.\n", "Greet"),
        ("Write it.\n\n## Greet the world\n", "Greet the world"),
        ("\n\nWrite it.\nSoon.\n", "Write it."),
        ('+++\ntitle = "Named"\n+++\n# Greet\n', "Named"),
        ("\ufeff# With a mark\n", "With a mark"),
        ("# Tab\tand \x1b[31mred\n", "Tab and [31mred"),
        (f"# {'x' * 500}\n", "x" * 120),
    ],
)
def test_the_title_is_the_front_matter_or_the_heading_or_the_first_line(text: str, title: str) -> None:
    file = read_task("-", BytesIO(text.encode()), Path(), environ={})
    assert file.task.title == title
    assert file.name == "standard input"


def test_front_matter_is_removed_from_the_text_and_may_have_crlf() -> None:
    file = read_task(
        "-", BytesIO(b"+++\r\n[phases.coding]\r\nmodel = 'glm-4.7'\r\n+++\r\n# Do\r\n\r\nit\r\n"), Path(), environ={}
    )
    assert file.settings == {"phases": {"coding": {"model": "glm-4.7"}}}
    assert file.task.text == "# Do\r\n\r\nit\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"+++\ntitle = 'x'\n+++\n", "is empty"),
        (b"+++\ntitle = 'x'\n", "is not closed"),
        (b"+++\na = 1\nb = = 2\n+++\n# x", "line 3"),
        (b"+++\ntitle = 3\n+++\n# x", "title"),
        (b"caf\xe9", "not UTF-8"),
        (b"x" * 300_000, "longer than 256 KiB"),
        (b"+++\na = " + b"[" * 5000 + b"]" * 5000 + b"\n+++\n# x", "nested too deep"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_invalid_task_file_is_an_error_that_says_why(data: bytes, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        read_task("-", BytesIO(data), Path(), environ={})


def test_a_missing_task_file_is_an_error_that_suggests_a_similar_name(tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text("# x")
    with pytest.raises(TaskError) as caught:
        read_task("tusk.md", BytesIO(), tmp_path, environ={})
    assert caught.value.hint == "did you mean task.md?"
    with pytest.raises(TaskError, match="is a folder"):
        read_task(".", BytesIO(), tmp_path, environ={})


@given(st.binary(max_size=300))
def test_any_bytes_are_a_task_or_a_task_error(data: bytes) -> None:
    try:
        file = read_task("-", BytesIO(data), Path(), environ={})
    except TaskError:
        return
    assert file.task.title.isprintable()
    assert file.task.text.strip()


@pytest.mark.parametrize(
    ("text", "kept", "said"),
    [
        (
            "Do\u200b it\U000e0041\U000e0042 now\x1b[2J\n",
            "Do it now[2J\n",
            "invisible characters, which are removed (4: \\u200b, \\U000e0041",
        ),
        ("می\u200cخواهم 👨\u200d👩 a\ufe0f\r\nb\n", "می\u200cخواهم 👨\u200d👩 a\ufe0f\r\nb\n", ""),
        ("a\u200cb \u200c\u200d\n", "ab\n", "(3: \\u200c, \\u200d)"),
        (
            "Do it <!-- and obey --> now\n",
            "Do it <!-- and obey --> now\n",
            "standard input contains HTML comments, which models read and a rendered page hides (1)",
        ),
    ],
)
def test_invisible_characters_are_removed_and_hidden_content_is_reported(text: str, kept: str, said: str) -> None:
    file = read_task("-", BytesIO(text.encode()), Path(), environ={})
    assert file.task.text == kept
    assert file.hidden_content.startswith("standard input contains ") if said else file.hidden_content == ""
    assert said in file.hidden_content


def test_a_task_of_invisible_characters_only_is_empty() -> None:
    with pytest.raises(TaskError, match="is empty"):
        read_task("-", BytesIO("\u200b\n\U000e0041".encode()), Path(), environ={})

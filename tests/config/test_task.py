"""Task files: title, text, settings and errors."""

from __future__ import annotations

import os
import subprocess
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


# Links


SECRET = "machine example login me password canary-of-the-user"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a committed task beside files of the user's."""
    (tmp_path / ".netrc").write_text(SECRET)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/spec.md").write_text(SECRET)
    root = tmp_path / "project"
    (root / "tasks").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "docs/task.md").write_text("# Greet\n")
    (root / ".env").write_text(SECRET)
    for command in (["init", "-q"], ["add", "docs"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.mark.parametrize(
    ("link", "target", "task", "problem"),
    [
        ("tasks/next.md", "../../.netrc", "tasks/next.md", "leads out of its repository"),
        ("tasks/next.md", "{home}/.netrc", "tasks/next.md", "leads out of its repository"),
        ("tasks/next.md", "{home}/.netrc", "{root}/tasks/next.md", "leads out of its repository"),
        ("tasks/next.md", "/proc/self/environ", "tasks/next.md", "leads out of its repository"),
        ("tasks/next.md", "../../missing", "tasks/next.md", "leads out of its repository"),
        ("later", "..", "later/.netrc", "leads out of its repository"),
        ("specs", "../specs", "specs", "leads out of its repository"),
        ("specs", "../specs", "specs/spec.md", "leads out of its repository"),
        ("tasks/next.md", "../.env", "tasks/next.md", "leads to what git does not track"),
        ("tasks/next.md", "../.git/config", "tasks/next.md", "leads to what git does not track"),
        ("tasks/next.md", "../../project/.env", "tasks/next.md", "leads to what git does not track"),
    ],
)
def test_a_link_of_a_repository_to_another_file_of_the_user_is_no_task(
    checkout: Path, link: str, target: str, task: str, problem: str
) -> None:
    names = {"home": str(checkout.parent), "root": str(checkout)}
    (checkout / link).symlink_to(target.format_map(names))
    with pytest.raises(TaskError, match=problem) as caught:
        read_task(task.format_map(names), None, checkout, environ=os.environ)
    assert "canary-" not in f"{caught.value.message} {caught.value.hint}"


def test_the_hint_about_a_link_is_a_command_that_works(checkout: Path) -> None:
    (checkout / "tasks/next.md").symlink_to("../../.netrc")
    with pytest.raises(TaskError) as caught:
        read_task("tasks/next.md", None, checkout, environ=os.environ)
    own = checkout.parent / ".netrc"
    assert caught.value.hint == f"if that is the task, name it: autoroute run {own}"
    assert read_task(str(own), None, checkout, environ=os.environ).task.text == f"{SECRET}\n"


def test_a_link_to_a_tracked_file_and_links_of_the_users_own_are_followed(checkout: Path) -> None:
    (checkout / "tasks/next.md").symlink_to("../docs/task.md")
    (checkout / "later").symlink_to("tasks")
    (checkout.parent / "mine.md").symlink_to("project/docs/task.md")
    (checkout.parent / "work").symlink_to(checkout)
    for name in ("tasks/next.md", "later/next.md", "../mine.md", "../work/docs/task.md", "../work/later/next.md"):
        file = read_task(name, None, checkout, environ=os.environ)
        assert (file.task.title, file.path) == ("Greet", checkout / "docs/task.md")


def test_links_in_a_circle_are_an_error(checkout: Path) -> None:
    (checkout / "a.md").symlink_to("b.md")
    (checkout / "b.md").symlink_to("a.md")
    with pytest.raises(TaskError, match=r"a\.md cannot be read: too many symbolic links"):
        read_task("a.md", None, checkout, environ=os.environ)

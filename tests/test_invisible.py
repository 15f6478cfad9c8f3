"""Texts of a model in files and commits: nothing that a terminal obeys, and nothing that a reader does not see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.events import ArtifactAccepted
from autoroute.invisible import escape_in_json, make_visible, to_plain
from autoroute.routing import Phase
from autoroute.store import RunFolder
from autoroute.store.journal import Journal

HOSTILE = {
    "a color": "\x1b[31mred\x1b[0m",
    "the clipboard": "\x1b]52;c;Y3VybA==\x07",
    "the title": "\x1b]0;root\x9c",
    "a C1 sequence": "\x9b2Jcleared",
    "a line that is overwritten": "rm -rf /\rok     ",
    "a deleted letter": "no\x08\x08yes\x7f",
    "bidi": "a\u202egpj.exe\u202c",
    "an isolate": "\u2066a\u2069",
    "tags": "x\U000e0041\U000e0042",
    "zero width": "a\u200bb\ufeff",
    "a separator of lines": "a\u2028b",
}
LEGITIMATE = "Grüße, 日本語, می\u200cروم, 👩\u200d💻, café\tand\nmore"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_plain_text_has_nothing_that_is_obeyed_or_hidden(text: str) -> None:
    assert make_visible(text) != text  # the control: this text is hostile
    assert make_visible(to_plain(text)) == to_plain(text)


def test_a_plain_text_keeps_what_people_write() -> None:
    assert to_plain(LEGITIMATE) == LEGITIMATE
    assert to_plain("a\r\nb") == "a\nb"


@given(st.text())
def test_json_with_escapes_means_the_same(text: str) -> None:
    written = escape_in_json(json.dumps({"a": text}, ensure_ascii=False, indent=1))
    assert json.loads(written) == {"a": text}
    assert make_visible(written) == written


SPEC: dict[str, Callable[[str], object]] = {
    "title": str,
    "summary": str,
    "requirements": lambda text: [text],
    "acceptance": lambda text: [{"id": "A1", "text": text}],
    "assumptions": lambda text: [text],
    "out_of_scope": lambda text: [text],
}
REVIEW: dict[str, Callable[[str], object]] = {
    "verdict": lambda _: "rejected",
    "summary": str,
    "criteria": lambda text: [{"id": text, "met": True, "evidence": text}],
    "issues": lambda text: [{"severity": "major", "file": text, "line": 1, "problem": text, "fix": text}],
}
PLAN: dict[str, Callable[[str], object]] = {"summary": str, "subtasks": lambda text: [{"id": "1", "title": text}]}


@pytest.mark.parametrize(
    ("artifact", "phase", "fields"),
    [("spec", Phase.SPEC, SPEC), ("plan", Phase.PLANNING, PLAN), ("review", Phase.QA, REVIEW)],
)
def test_files_of_artifacts_hold_no_raw_escapes(
    tmp_path: Path, artifact: str, phase: Phase, fields: dict[str, Callable[[str], object]]
) -> None:
    text = " ".join(HOSTILE.values())
    content = {name: make(text) for name, make in fields.items()}
    folder = RunFolder.create(tmp_path, "r1")
    folder.record(ArtifactAccepted(phase=phase, round=1, artifact=artifact, content=content))  # type: ignore[arg-type]
    files = [path for path in folder.path.iterdir() if path.suffix in (".md", ".json", ".jsonl")]
    assert {path.suffix for path in files} >= {".json", ".jsonl"}
    for path in files:
        written = path.read_bytes().decode("utf-8")
        assert make_visible(written) == written, path
    assert folder.artifact(artifact) == content


def test_the_journal_is_ascii_whatever_a_model_writes(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "events.jsonl")
    journal.append(ArtifactAccepted(phase=Phase.SPEC, round=1, artifact="spec", content=HOSTILE))
    assert (tmp_path / "events.jsonl").read_bytes().isascii()

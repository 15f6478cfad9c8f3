"""The language of everything that a person or a model reads: plain English, American spelling."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PENDING = Path(__file__).with_name("language_pending.txt")

CODE = [path for path in sorted((ROOT / "autoroute").rglob("*.py")) if "project" not in path.parts]
PROSE = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").iterdir()),
    *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / "autoroute/phases/prompts").glob("*.md")),
    ROOT / "config.example.toml",
    ROOT / "benchmarks/README.md",
    ROOT / ".ci/run",
]

RIDDLES = {
    r"(?:is|are|was|were) no (?!longer\b|more\b)[a-z]\w*": "say what it is, or 'is not a'",
    r"there (?:is|are|was|were) no": "name the thing first: 'no X found', 'X not found'",
    r"mend(?:s|ed|ing)?": "fix",
    r"go(?:es|ing)? by": "uses",
    r"(?:hold|holds|held|holding) (?:\w+ )?back": "confine, restrict",
    r"by (?:itself|themselves)": "automatically, on its own",
    r"nobody": "no one; better, name the person who is meant",
    r"stands?(?! for\b|-)": "is, is written, is listed",
    r"taken up": "resumed, accepted",
    r"(?:is|are|was|were) said": "is shown, is reported",
}
BRITISH = (
    r"(?:artefact|behaviour|catalogue|centre|colour|defence|favour|grey|honour|judgement|labelled|licence|neighbour"
    r"|(?:authoris|customis|finalis|initialis|normalis|optimis|organis|recognis|sanitis|serialis|summaris|synchronis)"
    r"(?:e|es|ed|ing|ation))s?"
)
FORBIDDEN = re.compile(rf"\b(?:{'|'.join(RIDDLES)}|{BRITISH})\b", re.IGNORECASE)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each text of a file that a person or a model reads, with its line: prose, or strings and comments of code."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), start=1)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def findings(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r} in {' '.join(text.split())[:100]!r}"
        for line, text in texts(path)
        for match in FORBIDDEN.finditer(" ".join(text.split()))
    ]


def pending() -> set[str]:
    lines = PENDING.read_text(encoding="utf-8").splitlines() if PENDING.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("path", [*CODE, *PROSE], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_is_plain_english(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in pending():
        assert findings(path) == []


def test_the_list_of_files_that_are_not_done_yet_only_shrinks() -> None:
    done = [name for name in sorted(pending()) if not (ROOT / name).exists() or not findings(ROOT / name)]
    assert done == [], f"remove these lines from {PENDING.relative_to(ROOT)}"


@pytest.mark.parametrize(
    "text",
    [
        "'foo' is no phase",
        "there is no file nope.md",
        "what mends it",
        "a login goes by its folder",
        "commands are held back by bubblewrap",
        "it decides by itself",
        "nobody can be asked",
        "old does not stand in a.py",
        "it is not taken up",
        "the artefact, its colour and its behaviour",
    ],
)
def test_riddles_are_found(text: str) -> None:
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize(
    "text", ["it is no longer there", "NAME stands for a provider", "understand, recommend", "otherwise it is advised"]
)
def test_plain_sentences_pass(text: str) -> None:
    assert not FORBIDDEN.search(text)

"""One word for each concept: names of events, settings and flags use words of the glossary, or plain words listed here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoroute import events
from docs import generate

ROOT = Path(__file__).parent.parent
GLOSSARY = ROOT / "docs/concepts/glossary.md"

_PLAIN_WORDS = """
    accept accepted allow api approve ask auth auto binary byte cache code command committed compacted
    concurrent config connect control decided deltas demo diff dir dirty discard dry ended env error failed
    field file first folder for format id idle in include interactive json large like list locked logout max
    memory merge minute mode needed no non offset on order page paid per process processes project published
    reached readable reasoning refresh refused region reject rejected replay request resource resume resumed
    restored retry sent session short show signature simulate size source started stream thought threshold timeout title
    token unproved until update url usd use utc variable version wait weekly work yes
"""
PLAIN = frozenset(_PLAIN_WORDS.split())
"""Words that mean in a name what they mean in any English sentence, or that name a flag of their own."""


def glossary() -> dict[str, str]:
    """Return the glossary: word -> meaning."""
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    return {word.strip(): meaning for term, meaning in rows for word in term.split(",") if word not in ("word", "---")}


def singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and not word.endswith(("ss", "us", "is", "as")):
            return word.removesuffix(ending) + instead
    return word


def event_names() -> Iterator[str]:
    for name, value in vars(events).items():
        if isinstance(value, type) and hasattr(value, "type"):
            yield from re.findall(r"[A-Z][a-z]+", name)


def setting_names() -> Iterator[str]:
    text = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    for line in re.sub(r"^#: ", "", text, flags=re.MULTILINE).splitlines():
        if match := re.match(r"\[([\w.]+)\]|([a-z]\w*) = ", line):
            yield from re.split(r"[._]", match[1] or match[2])


def flag_names() -> Iterator[str]:
    for name, command in generate.commands():
        yield from name.split()
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--"):
                    yield from re.split(r"[-_]", option.removeprefix("--"))


EXAMPLES = {"acme", "large", "work", "claude"}
"""Names in `config.example.toml` that a user chooses, and the vendor that settings name."""


@pytest.mark.parametrize("names", [event_names, setting_names, flag_names], ids=lambda names: names.__name__)
def test_words_in_names_are_in_the_glossary(names: object) -> None:
    assert callable(names)
    known = {singular(word) for term in glossary() for word in re.split(r"[ -]", term.lower())} | PLAIN | EXAMPLES
    unknown = {word.lower() for word in names() if word.lower() not in known and singular(word.lower()) not in known}
    assert sorted(unknown) == [], f"define them in {GLOSSARY.relative_to(ROOT)}, or use a word that is defined there"


def test_every_plain_word_is_used_and_not_in_the_glossary() -> None:
    used = {word.lower() for names in (event_names, setting_names, flag_names) for word in names()}
    used |= {singular(word) for word in used}
    assert sorted(PLAIN - used) == []
    assert sorted(PLAIN & {term.lower() for term in glossary()}) == []


def test_every_command_and_setting_of_the_example_is_read() -> None:
    """The names are found where they are written: a change of format would make this test blind."""
    example = re.sub(r"^#: ", "", (ROOT / "config.example.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(tomllib.loads(example)) <= set(setting_names()) | {"served_model"}
    assert {"run", "resume", "doctor"} <= set(flag_names())
    assert {"Run", "Turn", "Phase"} <= set(event_names())

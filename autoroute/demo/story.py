"""The demo's repository, and the script of the models that work on it through all four phases."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply

_GIT: Mapping[str, str] = MappingProxyType(
    {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "demo",
        "GIT_AUTHOR_EMAIL": "demo@localhost",
        "GIT_COMMITTER_NAME": "demo",
        "GIT_COMMITTER_EMAIL": "demo@localhost",
    }
)
_TEST = "python3 -m unittest -q"


PROVIDERS = ("anthropic", "zai")
PHASE_SETTINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"plan": {"model": "anthropic/opus-4.5"}, "code": {"model": "zai/glm-4.7"}}
)
"""Claude plans, GLM codes."""


def make_project(folder: Path, path: str) -> None:
    """Create the repository in ``folder``: one commit, a bug, and tests that show it. ``path`` is git's ``PATH``."""
    folder.mkdir(parents=True)
    for source in files("autoroute.demo").joinpath("project").iterdir():
        if source.is_file():
            (folder / source.name).write_bytes(source.read_bytes())
    for arguments in (
        ("init", "--quiet"),
        ("symbolic-ref", "HEAD", "refs/heads/main"),
        ("add", "."),
        ("commit", "--quiet", "--message=Parse and format durations"),
    ):
        subprocess.run(["git", *arguments], cwd=folder, env={**_GIT, "PATH": path}, check=True)


def story() -> Script:
    """Return the script: an incomplete first attempt, and a review that finds what was forgotten."""
    return Script(
        (
            Rule("submit_spec", "", _SPEC),
            Rule("submit_plan", "", _PLAN),
            Rule("edit", "The change was rejected", _REPAIR),
            Rule("edit", "Your subtask, 1 of 2", _REFUSE_UNKNOWN),
            Rule("edit", "Your subtask, 2 of 2", _ADD_DAYS),
            Rule("submit_review", "Round 1 of", _REJECTION),
            Rule("submit_review", "", _APPROVAL),
        )
    )


def _call(name: str, **arguments: Any) -> ScriptedCall:
    return ScriptedCall(name, json.dumps(arguments))


_SPEC = (
    ScriptedReply(
        thinking="First I need to see what parse() does today and what the tests expect.",
        text="I will read the module and its tests.",
        calls=(_call("read", path="durations.py"), _call("read", path="test_durations.py")),
    ),
    ScriptedReply(
        text="What else uses the table of units?",
        calls=(_call("grep", pattern="UNITS"), _call("find", glob="*.md")),
    ),
    ScriptedReply(
        thinking="Two behaviors and a line of documentation; the tests pin the first two.",
        calls=(
            _call(
                "submit_spec",
                title="Reject text that is not a duration, and support days",
                summary="parse() raises ValueError for text that it cannot parse; `d` is a unit.",
                requirements=[
                    "parse() raises ValueError, quoting the text, unless all of the text is parsed",
                    "`d` (86400 seconds) is a unit of parse() and spell()",
                    "the README lists all units",
                ],
                acceptance=[
                    {"id": "A1", "text": "the tests in UnknownText pass"},
                    {"id": "A2", "text": "the tests in Days pass, and those in KnownUnits still do"},
                    {"id": "A3", "text": "README.md lists `d` among the units"},
                ],
                assumptions=["white space between a number and its unit, and between parts, stays allowed"],
                out_of_scope=["weeks and longer units", "fractions"],
            ),
        ),
    ),
)

_PLAN = (
    ScriptedReply(
        text="I will read the code to change.",
        calls=(_call("read", path="durations.py"), _call("read", path="README.md")),
    ),
    ScriptedReply(
        thinking="Rejecting comes first: with days in the pattern it would be harder to see.",
        calls=(
            _call(
                "submit_plan",
                summary="Make parse() strict, then add the unit in the table and in the pattern.",
                subtasks=[
                    {
                        "id": "S1",
                        "title": "Raise ValueError for text that is not a duration",
                        "description": "In parse(), check that the parts found cover the whole text, or raise "
                        "ValueError quoting it. White space around and between parts is fine; nothing at all is not.",
                        "files": ["durations.py"],
                        "depends_on": [],
                        "acceptance": ["A1"],
                        "verify": f"{_TEST} test_durations.UnknownText test_durations.KnownUnits",
                    },
                    {
                        "id": "S2",
                        "title": "Support days",
                        "description": "Add `d` to UNITS and to the pattern, and to the list of units in README.md.",
                        "files": ["durations.py", "README.md"],
                        "depends_on": ["S1"],
                        "acceptance": ["A2", "A3"],
                        "verify": f"{_TEST} test_durations.Days",
                    },
                ],
                verify=[_TEST],
            ),
        ),
    ),
)

_SUM = "    return sum(int(number) * UNITS[unit] for number, unit in _PART.findall(text))"
_FIRST_TRY = """    parts = _PART.findall(text)
    if not parts:
        raise ValueError(f"not a duration: {text!r}")
    return sum(int(number) * UNITS[unit] for number, unit in parts)"""
_WHOLE = """    if not _DURATION.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}")
    return sum(int(number) * UNITS[unit] for number, unit in _PART.findall(text))"""
_PATTERN = '_PART = re.compile(r"(\\d+)\\s*([smh])")'

_REFUSE_UNKNOWN = (
    ScriptedReply(text="I will read the function.", calls=(_call("read", path="durations.py"),)),
    ScriptedReply(
        thinking="If nothing matches, the text has no duration in it.",
        calls=(_call("edit", path="durations.py", old=_SUM, new=_FIRST_TRY),),
    ),
    ScriptedReply(text="parse() now raises ValueError when it finds no part at all."),
    ScriptedReply(
        thinking="`1h and a bit` has a valid part, so checking for none is not enough: the whole text must match.",
        text="A valid part followed by anything else still passes. I will match the whole text instead.",
        calls=(
            _call("edit", path="durations.py", old=_FIRST_TRY, new=_WHOLE),
            _call(
                "edit",
                path="durations.py",
                old=_PATTERN,
                new=f'{_PATTERN}\n_DURATION = re.compile(rf"\\s*({{_PART.pattern}}\\s*)+")',
            ),
            _call("bash", command=f"{_TEST} test_durations.UnknownText test_durations.KnownUnits"),
        ),
    ),
    ScriptedReply(text="parse() now requires the whole text to consist of parts, and quotes it if it does not."),
)

_ADD_DAYS = (
    ScriptedReply(
        text="One more unit, in the table and in the pattern.",
        calls=(
            _call(
                "edit",
                path="durations.py",
                old='UNITS = {"s": 1, "m": 60, "h": 3600}',
                new='UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}',
            ),
            _call("edit", path="durations.py", old="([smh])", new="([smhd])"),
            _call("bash", command=_TEST),
        ),
    ),
    ScriptedReply(text="Days work in both directions, and all tests pass."),
)

_MISSING = "README.md still lists `s`, `m`, `h` as the only units."

_REJECTION = (
    ScriptedReply(
        text="I will run the tests and check the criterion that no test covers.",
        calls=(_call("bash", command=_TEST), _call("grep", pattern="Units:", path="README.md")),
    ),
    ScriptedReply(
        thinking="The tests pass, but A3 is about the README, and it was not touched.",
        calls=(
            _call(
                "submit_review",
                verdict="rejected",
                summary=_MISSING,
                criteria=[
                    {"id": "A1", "met": True, "evidence": f"`{_TEST}` passes, UnknownText included"},
                    {"id": "A2", "met": True, "evidence": f"`{_TEST}` passes, Days and KnownUnits included"},
                    {"id": "A3", "met": False, "evidence": "README.md, last line: Units: `s`, `m`, `h`."},
                ],
                issues=[
                    {
                        "severity": "major",
                        "file": "README.md",
                        "line": 7,
                        "problem": _MISSING,
                        "fix": "Add `d` to the list.",
                    }
                ],
            ),
        ),
    ),
)

_REPAIR = (
    ScriptedReply(
        text="The documentation was forgotten.",
        calls=(_call("edit", path="README.md", old="`s`, `m`, `h`.", new="`s`, `m`, `h`, `d`."),),
    ),
    ScriptedReply(text="README.md lists days now."),
)

_APPROVAL = (
    ScriptedReply(
        text="I will check what was rejected, and run everything again.",
        calls=(_call("grep", pattern="Units:", path="README.md"), _call("bash", command=_TEST)),
    ),
    ScriptedReply(
        calls=(
            _call(
                "submit_review",
                verdict="approved",
                summary="Text that is not a duration is rejected, days work, and the README says so.",
                criteria=[
                    {"id": "A1", "met": True, "evidence": f"`{_TEST}` passes, UnknownText included"},
                    {"id": "A2", "met": True, "evidence": f"`{_TEST}` passes, Days and KnownUnits included"},
                    {"id": "A3", "met": True, "evidence": "README.md:7 lists `d`"},
                ],
                issues=[],
            ),
        ),
    ),
)

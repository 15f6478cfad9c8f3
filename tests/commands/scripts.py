"""Small scripted models: one subtask, one file, and the verdicts that a test needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply

GREETING = "hello.txt"
VERIFY = f"grep -q 'hello, world' {GREETING}"


def call(name: str, **arguments: Any) -> ScriptedCall:
    return ScriptedCall(name, json.dumps(arguments))


SPEC = ScriptedReply(
    thinking="Small and clear.",
    calls=(
        call(
            "submit_spec",
            title="Greet the world",
            summary="A file that greets.",
            requirements=[f"{GREETING} greets the world"],
            acceptance=[{"id": "A1", "text": f"{GREETING} says hello, world"}],
            assumptions=[],
            out_of_scope=[],
        ),
    ),
)


def plan(verify: str | None = VERIFY, whole: str = "true", files: Sequence[str] = (GREETING,)) -> ScriptedReply:
    subtask = {
        "id": "S1",
        "title": "Write the greeting",
        "description": f"Write {GREETING}.",
        "files": list(files),
        "depends_on": [],
        "acceptance": ["A1"],
    }
    if verify:
        subtask["verify"] = verify
    return ScriptedReply(calls=(call("submit_plan", summary="One step.", subtasks=[subtask], verify=[whole]),))


def write(content: str = "hello, world\n", path: str = GREETING) -> ScriptedReply:
    return ScriptedReply(text="I write it.", calls=(call("write", path=path, content=content),))


DONE = ScriptedReply(text="Done.")


def review(verdict: str = "approved", problem: str = "The greeting is wrong.") -> ScriptedReply:
    met = verdict == "approved"
    issue = {"severity": "major", "file": GREETING, "problem": problem, "fix": "Greet the world."}
    return ScriptedReply(
        thinking="Look at the file.",
        calls=(
            call(
                "submit_review",
                verdict=verdict,
                summary="It greets." if met else problem,
                criteria=[{"id": "A1", "met": met, "evidence": f"{GREETING}:1"}],
                issues=[] if met else [issue],
            ),
        ),
    )


def rules(
    *,
    plan: ScriptedReply = plan(),  # noqa: B008 - a frozen value
    code: tuple[ScriptedReply, ...] = (write(), DONE),
    repair: tuple[ScriptedReply, ...] = (write(), DONE),
    reviews: tuple[ScriptedReply, ...] = (review(),),
) -> Script:
    """Return a script of all phases. ``reviews`` are the verdicts of round 1, 2, …; the last one repeats."""
    by_round = tuple(
        Rule("submit_review", f"Round {number} of", (verdict,)) for number, verdict in enumerate(reviews, start=1)
    )
    return Script(
        (
            Rule("submit_spec", "", (SPEC,)),
            Rule("submit_plan", "", (plan,)),
            Rule("edit", "The change was rejected", repair),
            Rule("edit", "", code),
            *by_round,
            Rule("submit_review", "", (reviews[-1],)),
        )
    )

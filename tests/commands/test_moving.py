"""A run whose coding moves twice, over three wires: it ends approved, and nothing private moves with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from autoroute.demo.rules import sign
from autoroute.demo.script import Rule, Script, ScriptedReply
from autoroute.demo.server import Fault, ModelServer
from tests.commands import scripts
from tests.commands.conftest import Result, World

PLAN_THINKS = "canary of planning: two files, one after the other"
VENDORS = {"anthropic": "claude-opus-4-5", "zai": "glm-4.7", "openai": "gpt-5.1", "deepseek": "deepseek-v4-pro"}


def subtask(id: str, path: str, after: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "id": id,
        "title": f"Write {path}",
        "description": f"Write {path}.",
        "files": [path],
        "depends_on": list(after),
        "acceptance": ["A1"],
        "verify": f"grep -q hello {path}",
    }


PLAN = ScriptedReply(
    thinking=PLAN_THINKS,
    calls=(
        scripts.call(
            "submit_plan",
            summary="Two steps.",
            subtasks=[subtask("S1", "one.txt"), subtask("S2", "two.txt", ("S1",))],
            verify=["true"],
        ),
    ),
)


def with_thinking(words: str, reply: ScriptedReply) -> ScriptedReply:
    return replace(reply, thinking=f"canary of coding: {words}")


LOOKS = ScriptedReply(
    text="I look around.",
    calls=(scripts.call("read", path="README"), scripts.call("read", path="none.txt"), scripts.call("find", glob="*")),
)
FIRST = (
    with_thinking("what is there?", LOOKS),
    with_thinking(
        "a first try", ScriptedReply(text="I try.", calls=(scripts.call("bash", command="printf hello > one.txt"),))
    ),
    with_thinking("better by tool", scripts.write("hello\n", "one.txt")),
    with_thinking("that was one", scripts.DONE),
)
"""Z.AI takes the first two of these turns, until its balance is spent; OpenAI takes the rest."""
SECOND = (
    with_thinking("now two", scripts.write("hello\n", "two.txt")),
    with_thinking("does it hold?", ScriptedReply(calls=(scripts.call("bash", command="cat one.txt two.txt"),))),
    with_thinking("that was two", scripts.DONE),
)
"""OpenAI takes the first, until its quota is spent; DeepSeek takes the rest."""
AGAIN = (
    with_thinking("a rejection", scripts.write("hello, world\n", "two.txt")),
    with_thinking("mended", scripts.DONE),
)


def script() -> Script:
    return Script(
        (
            Rule("submit_plan", "", (PLAN,)),
            Rule("edit", "The change was rejected", AGAIN),
            Rule("edit", "Your subtask, 1 of 2", FIRST),
            Rule("edit", "Your subtask, 2 of 2", SECOND),
            *scripts.rules(reviews=(scripts.review("rejected"), scripts.review())).rules,
        )
    )


FAULTS = {
    "zai": Fault(
        "status",
        offers="edit",
        status=429,
        answered=2,
        body={"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}},
    ),
    "openai": Fault(
        "status",
        offers="edit",
        status=429,
        answered=1,
        body={"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "Quota exceeded."}},
    ),
}


@dataclass
class MovedRun:
    """A run whose coding moved, and the requests that each provider got."""

    world: World
    result: Result
    receipt: dict[str, Any]

    def coding(self, vendor: str) -> list[bytes]:
        return [request.raw for request in self.world.servers[vendor].turns if offers(request.body, "edit")]


def offers(body: dict[str, Any], tool: str) -> bool:
    return json.dumps(tool) in json.dumps(body["tools"])


@pytest.fixture
def moved(world: World) -> MovedRun:
    for vendor in VENDORS:
        world.provide(vendor, script(), faults=[FAULTS[vendor]] if vendor in FAULTS else [])
    fallbacks = "coding=openai/gpt-5.1,deepseek/deepseek-v4-pro"
    routes = ("--plan", "opus-4.5", "--code", "glm-4.7", "--fallback", fallbacks)
    result = world.autoroute("run", "task.md", *routes, "--on-limit", "fallback")
    assert result.code == 0, result.stderr
    return MovedRun(world, result, json.loads((world.run_folder() / "receipt.json").read_text()))


def test_a_run_whose_coding_moves_over_three_wires_is_approved_and_records_who_did_what(moved: MovedRun) -> None:
    world, receipt = moved.world, moved.receipt
    assert receipt["verdict"] == "approved"
    assert [(row["phase"], row["action"], row["route"], row["to"]) for row in receipt["decisions"]] == [
        ("coding", "fallback", "zai/glm-4.7", "openai/gpt-5.1"),
        ("coding", "fallback", "openai/gpt-5.1", "deepseek/deepseek-v4-pro"),
    ]
    assert [(row["phase"], row["provider"], row["turns"]) for row in receipt["phases"]] == [
        ("spec", "anthropic", 1),
        ("planning", "anthropic", 1),
        ("coding", "zai", 4),
        ("coding", "openai", 3),
        ("coding", "deepseek", 2),
        ("qa", "anthropic", 2),
    ]
    form = "--format=%s: %(trailers:key=Autoroute-Model,valueonly,separator=%x2C)"
    log = world.git("log", "--reverse", form, f"main..{receipt['branch']}")
    # A commit names the model that finished the subtask. The next round starts with the primary again.
    assert log.splitlines() == [
        "Write one.txt: openai/gpt-5.1",
        "Write two.txt: deepseek/deepseek-v4-pro",
        "Address review: The greeting is wrong.: zai/glm-4.7",
    ]
    assert world.git("show", f"{receipt['branch']}:two.txt") == "hello, world"
    assert [server.violations for server in world.servers.values()] == [[], [], [], []]


def test_the_next_model_gets_the_work_but_not_the_thinking_or_key_of_another(moved: MovedRun) -> None:
    told = moved.coding("openai")[0].decode()
    for words in ("I look around.", "A project.", "none.txt", "printf hello > one.txt", "I try."):
        assert words in told
    told = moved.coding("deepseek")[0].decode()
    assert "hello" in told
    assert "two.txt" in told
    made = {
        "anthropic": [scripts.SPEC.thinking, PLAN_THINKS, scripts.review().thinking],
        "zai": [reply.thinking for reply in (*FIRST[:2], *AGAIN)],
        "openai": [reply.thinking for reply in (*FIRST[2:], SECOND[0])],
        "deepseek": [reply.thinking for reply in SECOND[1:]],
    }
    for vendor, server in moved.world.servers.items():
        seen = everything(server)
        for other, thoughts in made.items():
            if other != vendor:
                assert moved.world.environ[f"{other.upper()}_API_KEY"] not in seen
                assert not [thought for thought in thoughts if thought in seen or sign(VENDORS[other], thought) in seen]
    assert "canary-" not in moved.result.stdout + moved.result.stderr


def everything(server: ModelServer) -> str:
    return "\n".join(f"{request.headers} {request.raw.decode()}" for request in server.requests)

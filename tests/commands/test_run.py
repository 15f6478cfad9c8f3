from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from autoroute.demo.script import ScriptedReply
from autoroute.demo.server import Fault, ModelServer
from autoroute.events import PhaseStarted
from autoroute.phases import PHASES
from autoroute.store import RunFolder
from autoroute.tools import digest_specs, specs_of
from tests.commands import scripts
from tests.commands.conftest import KEY_ENV, World

FIRST_LINE = ("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.7")
OFFERED = {"submit_spec": "spec", "submit_plan": "planning", "edit": "coding", "submit_review": "qa"}


def phases_of(server: ModelServer) -> set[str]:
    """Return the phases whose requests reached a server, recognized by the tools that they offered."""
    return {OFFERED[name] for request in server.turns for name in tool_names(request.body) if name in OFFERED}


def tool_names(body: dict[str, Any]) -> Iterator[str]:
    for tool in body.get("tools", []):
        yield tool["name"] if "name" in tool else tool["function"]["name"]


def keys_seen(server: ModelServer) -> str:
    return "\n".join(f"{name}: {value}" for request in server.requests for name, value in request.headers.items())


def test_claude_plans_and_glm_codes_in_one_run(world: World) -> None:
    claude = world.provide("anthropic", scripts.rules())
    glm = world.provide("zai", scripts.rules())
    before = world.fingerprint()

    result = world.autoroute(*FIRST_LINE)

    assert result.code == 0, result.stderr
    assert phases_of(claude) == {"spec", "planning", "qa"}
    assert phases_of(glm) == {"coding"}
    assert {request.body["model"] for request in claude.turns} == {"claude-opus-4-5"}
    assert {request.body["model"] for request in glm.turns} == {"glm-4.7"}
    assert "canary-anthropic" in keys_seen(claude)
    assert "canary-zai" not in keys_seen(claude)
    assert "canary-zai" in keys_seen(glm)
    assert "canary-anthropic" not in keys_seen(glm)
    assert world.fingerprint() == before
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert branch in result.stdout
    assert world.git("show", f"{branch}:hello.txt") == "hello, world"
    message = world.git("log", "-1", "--format=%B", branch)
    assert message.startswith("Write the greeting\n")
    assert "Autoroute-Model: zai/glm-4.7" in message
    assert "Autoroute-Phase: coding" in message
    assert f"Autoroute-Run: {world.run_folder().name}" in message


def test_the_receipt_records_the_requested_and_the_served_model(world: World) -> None:
    claude = world.provide("anthropic", scripts.rules(), served_models={"claude-opus-4-5": "claude-opus-4-5-20251101"})
    glm = world.provide("zai", scripts.rules())
    assert world.autoroute(*FIRST_LINE).code == 0

    receipt = json.loads((world.run_folder() / "receipt.json").read_text())
    rows = {row["phase"]: row for row in receipt["phases"]}
    assert {phase: (row["provider"], row["requested"], row["model"], row["served"]) for phase, row in rows.items()} == {
        "spec": ("anthropic", "opus-4.5", "claude-opus-4-5", ["claude-opus-4-5-20251101"]),
        "planning": ("anthropic", "opus-4.5", "claude-opus-4-5", ["claude-opus-4-5-20251101"]),
        "coding": ("zai", "glm-4.7", "glm-4.7", ["glm-4.7"]),
        "qa": ("anthropic", "opus-4.5", "claude-opus-4-5", ["claude-opus-4-5-20251101"]),
    }
    assert rows["coding"]["host"] == glm.url.removeprefix("http://")
    assert rows["planning"]["host"] == claude.url.removeprefix("http://")
    assert rows["coding"]["account"] == "default"
    assert rows["coding"]["requests"] == len(glm.turns) == 2
    assert rows["coding"]["tokens"]["output"] > 0
    assert rows["coding"]["retries"] == 0
    assert receipt["verdict"] == "approved"


def test_coding_runs_on_an_openai_compatible_endpoint(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    deepseek = world.provide("deepseek", scripts.rules())
    result = world.autoroute("run", "task.md", "--plan", "opus-4.5", "--code", "deepseek/deepseek-v4-pro")
    assert result.code == 0, result.stderr
    assert phases_of(deepseek) == {"coding"}
    assert {request.path for request in deepseek.turns} == {"/deepseek/base/chat/completions"}


def test_each_phase_runs_on_its_own_provider(world: World) -> None:
    chosen = {"spec": "moonshot", "planning": "anthropic", "coding": "zai", "qa": "openai"}
    servers = {phase: world.provide(vendor, scripts.rules()) for phase, vendor in chosen.items()}
    routes = ("--spec", "kimi-k2.6", "--plan", "opus-4.5", "--code", "glm-4.7", "--qa", "openai/gpt-5.1")
    result = world.autoroute("run", "task.md", *routes)
    assert result.code == 0, result.stderr
    for phase, server in servers.items():
        assert phases_of(server) == {phase}
        others = [f"canary-{vendor}" for vendor in chosen.values() if vendor != chosen[phase]]
        assert not any(other in keys_seen(server) for other in others)
        assert f"canary-{chosen[phase]}" in keys_seen(server)


def test_a_rejection_starts_another_round_of_coding_with_the_review(world: World) -> None:
    problem = "It must end with a newline."
    script = scripts.rules(
        code=(scripts.write("hello, world"), scripts.DONE),
        reviews=(scripts.review("rejected", problem), scripts.review()),
    )
    server = world.provide("anthropic", script)
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 0, result.stderr
    repairs = [body for body in bodies(server) if "The change was rejected" in body]
    assert repairs
    assert all(problem in body for body in repairs)
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert world.git("rev-list", "--count", f"main..{branch}") == "2"


def bodies(server: ModelServer) -> list[str]:
    return [json.dumps(request.body) for request in server.turns]


def test_three_rejections_end_the_run_with_exit_10_and_keep_the_branch(world: World) -> None:
    rejected = scripts.review("rejected", "Not good enough.")
    world.provide("anthropic", scripts.rules(reviews=(rejected,)))
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 10
    assert "qa rejected the change after 3 rounds: Not good enough." in result.stdout + result.stderr
    assert world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")


def test_a_failed_verify_command_overrules_the_approval_of_qa(world: World) -> None:
    plan = scripts.plan(verify=scripts.VERIFY, whole="test -f never")
    world.provide("anthropic", scripts.rules(plan=plan, repair=(scripts.write(), scripts.DONE, scripts.DONE)))
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 11
    assert "qa approved, but this fails, so the change is rejected: test -f never" in result.stderr
    assert "test -f never: exit code 1" in result.stdout
    assert json.loads((world.run_folder() / "receipt.json").read_text())["verdict"] == "rejected"


def test_the_model_gets_the_output_of_a_failed_verify_command(world: World) -> None:
    code = (scripts.write("hello"), scripts.DONE, scripts.write(), scripts.DONE)
    verify = f"{scripts.VERIFY} || (echo the world is missing; exit 3)"
    server = world.provide("anthropic", scripts.rules(plan=scripts.plan(verify), code=code))
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 0, result.stderr
    corrections = [body for body in bodies(server) if "FAILED (exit code 3)" in body and "Attempt 2 of 3" in body]
    assert corrections
    assert "the world is missing" in corrections[0]


def test_a_subtask_that_keeps_failing_ends_the_run_with_its_reason(world: World) -> None:
    code = (scripts.write("a"), scripts.DONE, scripts.write("b"), scripts.DONE, scripts.write("c"), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=code))
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 11
    assert "subtask S1 (Write the greeting) is stuck after 3 of 3 attempts" in result.stderr
    assert "exit code 1" in result.stderr


def test_changes_by_qa_are_undone_and_its_verdict_is_ignored(world: World) -> None:
    meddling = ScriptedReply(calls=(scripts.call("bash", command="echo mine > README"), *scripts.review().calls))
    script = scripts.rules(reviews=(meddling, scripts.review()))
    world.provide("anthropic", script)
    result = world.autoroute("run", "task.md", "--plan", "sonnet")
    assert result.code == 0, result.stderr
    assert "qa changed README: undone" in result.stderr
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert world.git("show", f"{branch}:README") == "A project."


@pytest.mark.parametrize("phase", OFFERED)
def test_a_burst_limit_is_retried_in_every_phase(world: World, phase: str) -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    fault = Fault("status", offers=phase, times=2, status=529, body=body)
    world.provide("anthropic", scripts.rules(), faults=[fault])
    result = world.autoroute("run", "task.md", "--plan", "sonnet", "--format", "plain")
    assert result.code == 0, result.stderr
    assert "Overloaded" in result.stderr
    receipt = json.loads((world.run_folder() / "receipt.json").read_text())
    assert {row["phase"]: row["retries"] for row in receipt["phases"]}[OFFERED[phase]] == 2


def test_a_refused_key_ends_the_run_with_exit_77_and_the_providers_own_words(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules(), keys={"zai": "another-key"})
    result = world.autoroute(*FIRST_LINE)
    assert result.code == 77
    assert "coding (zai/glm-4.7): Authorization Token Invalid" in result.stderr
    assert "claude" not in result.stderr.lower()
    assert "anthropic" not in result.stderr.lower()
    assert [request for server in world.servers.values() for request in server.turns] == []


@pytest.mark.parametrize("vendor", ["anthropic", "zai"])
def test_a_missing_key_is_found_before_the_first_request(world: World, vendor: str) -> None:
    servers = [world.provide(name, scripts.rules()) for name in ("anthropic", "zai")]
    del world.environ[KEY_ENV[vendor]]
    result = world.autoroute(*FIRST_LINE)
    assert result.code == 77
    assert KEY_ENV[vendor] in result.stderr
    assert [request for server in servers for request in server.turns] == []
    assert not (world.repository / ".autoroute").exists()


def test_a_models_command_and_stored_files_contain_no_key(world: World) -> None:
    look = ScriptedReply(calls=(scripts.call("bash", command="env"),))
    names = ["anthropic", "zai", "openai", "deepseek", "moonshot"]
    for name in names:
        world.provide(name, scripts.rules(code=(scripts.write(), look, scripts.DONE)))
    world.environ["AUTOROUTE_PHASES__CODING__FALLBACK"] = "moonshot/kimi-k2.6"
    routes = ("--spec", "deepseek/deepseek-v4-pro", "--plan", "opus-4.5", "--code", "glm-4.7", "--qa", "openai/gpt-5.1")
    result = world.autoroute("run", "task.md", *routes, "--format", "jsonl")
    assert result.code == 0, result.stderr
    for name, server in world.servers.items():
        seen = keys_seen(server) + str([request.raw for request in server.requests])
        assert {other for other in names if f"canary-{other}" in seen} == {name}
    assert "PATH=" in result.stdout
    stored = [
        path for folder in (world.repository, world.home / "state", world.home / "cache") for path in folder.rglob("*")
    ]
    kept = b"".join(path.read_bytes() for path in stored if path.is_file())
    assert b"run_started" in kept
    assert "canary-" not in result.stdout + result.stderr
    assert b"canary-" not in kept


@pytest.mark.parametrize("deltas", [(), ("--deltas",)], ids=["recorded", "with fragments"])
def test_the_lines_of_jsonl_equal_those_of_the_journal(world: World, deltas: tuple[str, ...]) -> None:
    for vendor in ("anthropic", "zai"):
        world.provide(vendor, scripts.rules())
    lines = world.autoroute(*FIRST_LINE, "--format", "jsonl", *deltas).stdout.splitlines()
    fragments = [line for line in lines if json.loads(line)["type"] == "turn_update"]
    assert bool(fragments) == bool(deltas)
    assert all(list(json.loads(line))[:3] == ["schema", "time", "type"] for line in fragments)
    journal = (world.run_folder() / "events.jsonl").read_text(encoding="ascii").splitlines()
    shown = [line for line in lines if line not in fragments]
    assert shown == [line.rpartition(',"chain":"')[0] + "}" for line in journal]


def test_deltas_are_refused_for_formats_other_than_jsonl(world: World) -> None:
    result = world.autoroute(*FIRST_LINE, "--deltas")
    assert result.code == 2
    assert "--deltas needs --format jsonl" in result.stderr


def test_each_phase_records_digests_of_its_system_prompt_and_its_tools(world: World) -> None:
    server = world.provide("zai", scripts.rules())
    assert world.autoroute("run", "task.md", "--plan", "glm-4.7", "--code", "glm-4.7").code == 0
    events = RunFolder(world.run_folder()).events()
    started = {event.phase.value: event for event in events if isinstance(event, PhaseStarted)}
    sent = {
        OFFERED[name]: request.body["system"]
        for request in server.turns
        for name in tool_names(request.body)
        if name in OFFERED
    }
    assert {phase: event.system_sha256 for phase, event in started.items()} == {
        phase: sha256(system.encode()).hexdigest() for phase, system in sent.items()
    }
    assert {phase: event.tools_sha256 for phase, event in started.items()} == {
        phase.value: digest_specs(specs_of(row.tools)) for phase, row in PHASES.items()
    }
    assert len({event.tools_sha256 for event in started.values()}) == 4

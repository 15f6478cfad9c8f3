"""A spec folder of Auto-Claude as TASK: every phase at the provider that its metadata name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.commands import scripts
from tests.commands.conftest import World
from tests.commands.test_run import keys_seen, phases_of

NAME = ".auto-claude/specs/001-greet-the-world"
PROVIDERS = {"spec": "anthropic", "planning": "zai", "coding": "openai", "qa": "deepseek"}
MODELS = {"spec": "opus-1m", "planning": "glm-4.7", "coding": "gpt-5.1", "qa": "deepseek-v4-pro"}
SENT = {**MODELS, "spec": "claude-opus-4-5"}


def spec_folder(world: World, metadata: dict[str, Any]) -> Path:
    place = world.repository / NAME
    place.mkdir(parents=True)
    (place / "spec.md").write_text("# Specification: Greet the world\n\nWrite a greeting.\n", encoding="utf-8")
    requirements = {"task_description": "Greet.", "acceptance_criteria": ["hello.txt says hello, world"]}
    (place / "requirements.json").write_text(json.dumps(requirements), encoding="utf-8")
    (place / "task_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return place


def test_four_providers_in_one_metadata_file(world: World) -> None:
    servers = {phase: world.provide(vendor, scripts.rules()) for phase, vendor in PROVIDERS.items()}
    world.environ["ANTHROPIC_DEFAULT_OPUS_MODEL"] = SENT["spec"]
    (world.repository / "task.md").unlink()
    spec_folder(world, {"isAutoProfile": True, "model": "sonnet", "phaseModels": MODELS, "phaseProviders": PROVIDERS})
    before = world.fingerprint()

    result = world.autoroute("run", f"{NAME}/")

    assert result.code == 0, result.stderr
    for phase, server in servers.items():
        assert phases_of(server) == {phase}
        assert {request.body["model"] for request in server.turns if request.body} == {SENT[phase]}
        for vendor in PROVIDERS.values():
            assert (f"canary-{vendor}" in keys_seen(server)) == (vendor == PROVIDERS[phase])
    asked = json.dumps([request.body for request in servers["spec"].requests])
    assert "Write a greeting." in asked
    assert "hello.txt says hello, world" in asked
    assert "uncommitted changes" not in result.stderr
    assert world.fingerprint() == before
    receipt = json.loads((world.run_folder() / "receipt.json").read_text())
    assert receipt["verdict"] == "approved"
    assert {row["phase"]: f"{row['provider']}/{row['model']}" for row in receipt["phases"]} == {
        phase: f"{vendor}/{SENT[phase]}" for phase, vendor in PROVIDERS.items()
    }
    branch = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads/autoroute")
    assert world.git("show", f"{branch}:hello.txt") == "hello, world"


def test_what_is_wrong_with_the_metadata_is_said_before_anything_is_made(world: World) -> None:
    server = world.provide("anthropic", scripts.rules())
    place = spec_folder(world, {})
    for text, code, words in (
        ('{"model": }', 65, f"{NAME}/task_metadata.json is not valid JSON"),
        ('{"phaseModels": {"qa": 3}}', 65, "phaseModels.qa must be text"),
        ('{"model": "opus", "phaseProviders": {"qa": "antropic"}}', 78, "did you mean anthropic"),
    ):
        (place / "task_metadata.json").write_text(text, encoding="utf-8")
        result = world.autoroute("run", NAME)
        assert result.code == code, result.stderr
        assert words in result.stderr
    assert server.turns == []
    assert not (world.repository / ".autoroute").exists()

"""The published JSON Schema fits every line that a run writes, whatever happens to the run, and its receipt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from autoroute.demo.server import Fault
from autoroute.events import EVENT_NAMES
from tests.commands import scripts
from tests.commands.conftest import World

REFERENCE = Path(__file__).parents[2] / "docs/reference"
BURST = Fault("status", status=429, headers={"retry-after": "0"}, offers="submit_plan")
EXPIRED = Fault("status", status=401, offers="edit", times=100)


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((REFERENCE / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


EVENTS, RECEIPT = validator("events"), validator("receipt")


def lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        yield json.loads(line)


def faulted(world: World) -> str:
    """Run through a retry, a fallback, a rejection, a gate and a resume; return what was printed."""
    world.provide("anthropic", scripts.rules(reviews=(scripts.review("rejected"), scripts.review())), faults=[BURST])
    world.provide("zai", scripts.rules(), faults=[EXPIRED])
    routes = ("--plan", "sonnet", "--code", "glm-4.7", "--fallback", "coding=sonnet", "--gate", "planning")
    first = world.autoroute("run", "task.md", *routes, "--no-probe", "--format", "jsonl", "--deltas")
    assert first.code == 13, first.stderr
    second = world.autoroute("resume", "--approve", "--no-probe", "--format", "jsonl", "--deltas")
    assert second.code == 0, second.stderr
    return first.stdout + second.stdout


def test_every_line_of_a_faulted_run_fits_the_schema(world: World) -> None:
    printed = list(lines(faulted(world)))
    journal = list(lines((world.run_folder() / "events.jsonl").read_text(encoding="utf-8")))
    for line in (*printed, *journal):
        EVENTS.validate(line)
    met = {line["type"] for line in journal}
    needed = {"turn_failed", "recovery_needed", "recovery_decided", "gate_reached", "gate_decided", "run_resumed"}
    assert needed | {"verify_ended", "artifact_accepted", "published"} <= met
    recorded = [{name: value for name, value in line.items() if name != "chain"} for line in journal]
    assert [line for line in printed if "seq" in line] == recorded
    assert {line["type"] for line in printed if "seq" not in line} == {"turn_update"}


def test_the_receipt_of_a_faulted_run_fits_its_schema(world: World) -> None:
    faulted(world)
    receipt = json.loads((world.run_folder() / "receipt.json").read_text(encoding="utf-8"))
    RECEIPT.validate(receipt)
    assert json.loads(world.autoroute("show", "--json").stdout) == receipt


@pytest.mark.parametrize("change", [{"schema": 2}, {"type": "nonsense"}, {"seq": 0}, {"chain": "xyz"}])
def test_anything_but_an_event_does_not_fit(change: dict[str, Any]) -> None:
    event = {"schema": 1, "seq": 1, "time": "2026-12-01T00:00:00.000Z", "type": "notice", "level": "info", "text": "-"}
    EVENTS.validate(event)
    with pytest.raises(jsonschema.ValidationError):
        EVENTS.validate({**event, **change})


def test_the_schema_has_every_event() -> None:
    schema = json.loads((REFERENCE / "events.schema.json").read_text(encoding="utf-8"))
    assert set(EVENT_NAMES) <= set(schema["$defs"])

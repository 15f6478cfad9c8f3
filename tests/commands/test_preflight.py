"""Preflight, budgets and the check of the served model, as a user of ``run`` and ``doctor`` sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoroute.demo.script import Rule, Script, ScriptedReply
from autoroute.demo.server import FREE_GET, PROBE, Fault
from autoroute.demo.simulations import SIMULATIONS
from tests.commands import scripts
from tests.commands.conftest import KEY_ENV, World

FIRST_LINE = ("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.7")
IN_WORDS = Rule(PROBE, "", (ScriptedReply(text="ready"),))
WIRES = {"anthropic": "anthropic/opus-4.5", "openai": "openai/gpt-5.1", "deepseek": "deepseek/deepseek-v4-pro"}


def receipt(world: World) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((world.run_folder() / "receipt.json").read_text())
    return data


@pytest.mark.parametrize("shift", range(3))
def test_every_wire_works_in_every_phase(world: World, shift: int) -> None:
    for name in WIRES:
        world.provide(name, scripts.rules())
    routes = list(WIRES.values()) * 2
    flags = [
        word
        for place, phase in enumerate(("spec", "plan", "code", "qa"))
        for word in (f"--{phase}", routes[place + shift])
    ]
    result = world.autoroute("run", "task.md", *flags)
    assert result.code == 0, result.stderr
    served = {row["phase"]: f"{row['provider']}/{row['model']}" for row in receipt(world)["phases"]}
    assert [model.split("/")[0] for model in served.values()] == [
        route.split("/")[0] for route in routes[shift : shift + 4]
    ]


def test_a_model_that_never_calls_tools_is_rejected_for_coding_before_the_first_phase(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", Script((IN_WORDS, *scripts.rules().rules)))
    result = world.autoroute(*FIRST_LINE)
    assert result.code == 78
    assert "coding (zai/glm-4.7): it answered in words when it was asked to call a tool" in result.stderr
    assert [request for server in world.servers.values() for request in server.turns] == []
    assert not (world.repository / ".autoroute").exists()


def fenced(reply: ScriptedReply) -> ScriptedReply:
    """Return the artifact of a reply in the form that a model without tools uses."""
    return ScriptedReply(text=f"Here it is.\n\n```json\n{reply.calls[0].arguments}\n```\n")


def test_spec_and_planning_work_on_a_model_without_tools(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    broken = ScriptedReply(text="```json\n{}\n```")
    words = Script(
        (
            IN_WORDS,
            Rule("", "<spec>", (ScriptedReply(text="I think about it."), fenced(scripts.plan()))),
            Rule("", "A project.", (broken, fenced(scripts.SPEC))),
        )
    )
    zai = world.provide("zai", words)
    result = world.autoroute("run", "task.md", "--plan", "glm-4.7", "--code", "opus-4.5", "--qa", "opus-4.5")
    assert result.code == 0, result.stderr
    assert "digest of the repository" in result.stderr
    assert "spec rejected (attempt 1)" in result.stderr
    assert all("tools" not in request.body for request in zai.turns)
    assert world.git("show", f"{receipt(world)['branch']}:hello.txt") == "hello, world"


def test_a_key_revoked_during_planning_stops_the_run_before_coding(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    zai = world.provide("zai", scripts.rules())

    class Revoked(dict[str, str]):
        """The key is valid for the free request of preflight and for the two turns of its probe."""

        asked = 0

        def get(self, name: str, default: Any = None) -> Any:
            self.asked += 1
            return zai_key if self.asked <= 3 else "revoked"

    zai_key = world.environ[KEY_ENV["zai"]]
    zai.keys = Revoked()
    result = world.autoroute(*FIRST_LINE)
    assert result.code == 77
    assert "coding stopped: Z.AI refused the key of account default (glm-4.7" in result.stderr
    assert "Authorization Token Invalid" in result.stderr
    assert zai.turns == []
    assert {row["phase"]: row["turns"] > 0 for row in receipt(world)["phases"]}["planning"]


@pytest.mark.parametrize(("policy", "code"), [("strict", 69), ("warn", 0), ("off", 0)])
def test_a_reply_of_another_model_than_requested(world: World, policy: str, code: int) -> None:
    world.provide("anthropic", scripts.rules())
    fault = Fault("misname", offers="edit", times=99, body={"asked": "glm-4.7", "served": "glm-4.5-air"})
    world.provide("zai", scripts.rules(), faults=[fault])
    world.environ["AUTOROUTE_SERVED_MODEL"] = policy
    result = world.autoroute(*FIRST_LINE)
    assert result.code == code, result.stderr
    is_reported = "glm-4.5-air answered a request for glm-4.7" in result.stderr
    assert is_reported == (policy != "off")
    assert result.stderr.count("glm-4.5-air answered") <= 3
    if policy == "strict":
        assert "Z.AI answered with another model (glm-4.7, account default: " in result.stderr
    assert {row["phase"]: row["served"] for row in receipt(world)["phases"]}["coding"] == ["glm-4.5-air"]


def test_the_receipt_has_the_cost_of_a_run(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    assert world.autoroute(*FIRST_LINE).code == 0
    data = receipt(world)
    costs = [row["cost_usd"] for row in data["phases"]]
    assert all(cost > 0 for cost in costs)
    assert data["cost_usd"] == pytest.approx(sum(costs), abs=1e-6)
    assert "models.toml" in data["prices"]
    assert "$" in world.autoroute("show").stdout


@pytest.mark.parametrize("flag", ["0.5", "coding=0.0001"])
def test_a_budget_stops_the_run_before_the_request_that_could_break_it(world: World, flag: str) -> None:
    world.provide("anthropic", scripts.rules())
    zai = world.provide("zai", scripts.rules())
    result = world.autoroute(*FIRST_LINE, "--budget", flag)
    assert result.code == 12, result.stderr
    assert "is reached" in result.stderr
    assert f"hint: raise it: --budget {flag.rpartition('=')[0]}" in result.stderr
    assert zai.turns == []


def test_a_token_budget_stops_the_run(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    world.environ["AUTOROUTE_PHASES__CODING__BUDGET_TOKENS"] = "33500"
    result = world.autoroute(*FIRST_LINE)
    assert result.code == 12
    assert "the budget of coding is reached" in result.stderr
    assert "of 33500 tokens" in result.stderr


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("lots", "--budget: 'lots' is not a valid USD amount"),
        ("coding=-1", "--budget: '-1' is not a valid USD amount"),
        ("baking=1", "unknown phase 'baking' in --budget"),
        ("nan", "--budget: 'nan' is not a valid USD amount"),
    ],
)
def test_an_invalid_budget_is_rejected(world: World, flag: str, message: str) -> None:
    result = world.autoroute(*FIRST_LINE, "--budget", flag)
    assert (result.code, message in result.stderr) == (2, True)


def test_a_locked_run_rejects_a_routing_that_resolves_to_something_else(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    assert world.autoroute(*FIRST_LINE, "--locked").code == 78
    (world.home / "victim").write_text("mine")
    (world.repository / "autoroute.lock").symlink_to(world.home / "victim")
    written = world.autoroute("lock", *FIRST_LINE[2:])
    assert written.code == 0, written.stderr
    assert (world.home / "victim").read_text() == "mine"
    text = (world.repository / "autoroute.lock").read_text()
    assert 'model = "claude-opus-4-5"' in text
    assert "canary-" not in text
    assert world.autoroute(*FIRST_LINE, "--locked").code == 0
    turns = len(world.servers["zai"].turns)
    drifted = world.autoroute("run", "task.md", "--plan", "opus-4.5", "--code", "glm-4.6", "--locked")
    assert drifted.code == 78
    assert "coding: model was glm-4.7 and is now glm-4.6" in drifted.stderr
    (world.repository / "autoroute.lock").write_text("version = ")
    assert world.autoroute(*FIRST_LINE, "--locked").code == 78
    (world.repository / "autoroute.lock").unlink()
    (world.repository / "autoroute.lock").symlink_to("/dev/zero")
    endless = world.autoroute(*FIRST_LINE, "--locked")
    assert (endless.code, "autoroute.lock: it is a symbolic link" in endless.stderr) == (78, True), endless.stderr
    assert len(world.servers["zai"].turns) == turns


def test_doctor_on_a_working_setup(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    result = world.autoroute("doctor", *FIRST_LINE[2:], "--probe")
    assert result.code == 0, result.stdout
    assert "spec, planning, qa: anthropic/claude-opus-4-5, account default" in result.stdout
    assert "called a tool and used its result" in result.stdout
    assert "key from ZAI_API_KEY" in result.stdout
    assert "canary-" not in result.stdout + result.stderr
    # A run uses the result of the probe, and does not probe again.
    before = len(world.servers["zai"].requests)
    assert world.autoroute(*FIRST_LINE).code == 0
    new = world.servers["zai"].requests[before:]
    assert not any(PROBE in json.dumps(request.body.get("tools", [])) for request in new)


ROW = {"id", "category", "status", "summary", "details", "remediation", "duration_ms"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"keys": {"zai": "another"}}, 77),
        ({"faults": [Fault("status", offers=PROBE, times=9, status=404, body={"error": {"code": "1211", "message": "Unknown Model"}})]}, 78),
        ({"faults": [Fault("cut", offers=PROBE, times=9)]}, 69),
    ],
    ids=["key", "model", "unreachable"],
)  # fmt: skip
def test_doctor_prints_rows_and_ends_with_the_worst_exit_code(world: World, options: dict[str, Any], code: int) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules(), **options)
    result = world.autoroute("doctor", *FIRST_LINE[2:], "--probe", "--json")
    assert result.code == code, result.stdout
    rows = json.loads(result.stdout)
    assert all(set(row) == ROW for row in rows)
    (bad,) = [row for row in rows if row["status"] == "error"]
    assert bad["details"]["route"] == "zai/glm-4.7"
    assert bad["id"].startswith("route.zai/glm-4.7.default.")
    assert "canary-" not in result.stdout + result.stderr


def test_doctor_warns_of_a_limit_and_does_not_probe_before_its_reset(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    spent = {"error": {"code": "1310", "message": "Weekly limit"}}
    fault = Fault("status", offers=PROBE, status=429, headers={"retry-after": "7200"}, body=spent)
    zai = world.provide("zai", scripts.rules(), faults=[fault])
    for categories in ({"tools"}, {"quota"}):
        result = world.autoroute("doctor", *FIRST_LINE[2:], "--probe", "--json")
        assert result.code == 0, result.stdout
        rows = [row for row in json.loads(result.stdout) if row["status"] == "warning" and "route" in row["details"]]
        assert {row["category"] for row in rows} == categories
        assert all(row["summary"].startswith("limited until ") and "Weekly limit" in row["summary"] for row in rows)
    assert [request.status for request in zai.requests if request.method == "POST"] == [429]


def test_doctor_reports_a_missing_repository_and_invalid_settings_and_continues(world: World) -> None:
    (world.home / "elsewhere").mkdir()
    (world.home / "config.toml").write_text("[limits]\nmax_rounds = 0\n")
    result = world.autoroute("doctor", cwd=world.home / "elsewhere")
    assert result.code == 73
    assert "is not a git repository" in result.stdout
    assert "limits.max_rounds" in result.stdout
    assert "Python 3." in result.stdout


@pytest.mark.parametrize(
    ("simulation", "words"),
    [
        ("429@coding", "exit code 0"),
        ("529@spec", "exit code 0"),
        ("401@code", "exit code 77"),
        ("quota@coding", "exit code 75"),
        ("balance@qa", "exit code 77"),
        ("html@spec", "exit code 0"),
        ("drop@coding", "exit code 0"),
        ("cut@qa", "exit code 0"),
        ("garbage@planning", "exit code 0"),
        ("wrong-model@plan", "exit code 69"),
    ],
)
def test_doctor_rehearses_failures_with_the_users_routing(world: World, simulation: str, words: str) -> None:
    world.environ |= {"ANTHROPIC_API_KEY": "canary-a", "ZAI_API_KEY": "canary-z", "TMPDIR": str(world.home)}
    result = world.autoroute("doctor", *FIRST_LINE[2:], "--simulate", simulation)
    assert result.code == 0, result.stderr
    assert f"a run of yours would have ended like this: {words}" in result.stderr
    assert "started on anthropic/claude-opus-4-5" in result.stderr


def test_every_simulation_is_rehearsed_there() -> None:
    parameters: Any = test_doctor_rehearses_failures_with_the_users_routing
    (mark,) = parameters.pytestmark
    assert {case[0].partition("@")[0] for case in mark.args[1]} == set(SIMULATIONS)


def test_a_rehearsal_uses_the_users_fallbacks(world: World) -> None:
    world.environ |= {"ANTHROPIC_API_KEY": "canary-a", "ZAI_API_KEY": "canary-z", "TMPDIR": str(world.home)}
    fallback = ("--fallback", "coding=anthropic/sonnet")
    world.environ["TMPDIR"] = str(world.home / "temporary")
    (world.home / "temporary").mkdir()
    result = world.autoroute("doctor", *FIRST_LINE[2:], *fallback, "--simulate", "quota@coding")
    assert list((world.home / "temporary").iterdir()) == []
    assert "would have ended like this: exit code 0" in result.stderr
    assert "policy decided: fall back to anthropic/claude-sonnet-5-5" in result.stderr


@pytest.mark.parametrize(
    ("simulation", "hint"), [("flood@coding", "429"), ("429@baking", "planning"), ("429", "coding")]
)
def test_an_unknown_rehearsal_is_rejected(world: World, simulation: str, hint: str) -> None:
    result = world.autoroute("doctor", "--simulate", simulation)
    assert result.code == 2
    assert hint in result.stderr


def test_login_checks_a_key_and_stores_it_for_runs(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules())
    key = world.environ.pop(KEY_ENV["zai"])
    wrong = world.autoroute("login", "zai", stdin="canary-wrong\n")
    assert wrong.code == 77
    assert "Authorization Token Invalid" in wrong.stderr
    stored = world.autoroute("login", "zai", stdin=f"{key}\n")
    assert stored.code == 0, stored.stderr
    result = world.autoroute(*FIRST_LINE)
    assert result.code == 0, result.stderr
    assert "canary-" not in wrong.stderr + stored.stdout + stored.stderr + result.stderr
    assert world.autoroute("logout", "zai").code == 0
    assert world.autoroute(*FIRST_LINE).code == 77
    assert world.autoroute("logout", "zai").code == 78


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("login", "nobody"), 78), (("login", "ollama"), 2), (("login", "zai", "--account", "x"), 78)],
)
def test_login_with_an_unknown_provider_or_account_is_rejected(
    world: World, arguments: tuple[str, ...], code: int
) -> None:
    assert world.autoroute(*arguments, stdin="canary\n").code == code


def test_models_lists_searches_and_refreshes(world: World) -> None:
    result = world.autoroute("models", "opus-4.5")
    assert "anthropic/claude-opus-4-5" in result.stdout
    assert "$5 in, $25 out" in result.stdout
    listing = {
        "zai": {
            "models": {
                "glm-9": {
                    "tool_call": True,
                    "cost": {"input": 9, "output": 9},
                    "limit": {"context": 9000, "output": 900},
                },
                "bad\x1b": {},
            }
        }
    }
    server = world.provide("zai", scripts.rules(), faults=[Fault("status", offers=FREE_GET, status=200, body=listing)])
    refreshed = world.autoroute("models", "glm-9", "--refresh", "--source", f"{server.url}/x/api.json", "--json")
    assert refreshed.code == 0, refreshed.stderr
    (row,) = json.loads(refreshed.stdout)["models"]
    assert (row["provider"], row["id"], row["context"], row["price"]["input"]) == ("zai", "glm-9", 9000, 9)
    broken = world.autoroute("models", "--refresh", "--source", f"{server.url}/x/api.json")
    assert broken.code == 69
    assert "glm-9" in world.autoroute("models", "glm").stdout

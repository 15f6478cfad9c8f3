"""Verify commands before the work and with the change broken, as whole commands show it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoroute.demo.script import Rule, Script, ScriptedReply
from tests.commands import scripts
from tests.commands.conftest import World

RUN = ("run", "task.md", "--plan", "sonnet")
MODULE = "greet.py"
GREETS = "def greet():\n    return 'hello'\n"
TESTS = "import unittest, greet\n\nclass T(unittest.TestCase):\n"
TEST_GREET = "    def test_greet(self):\n        self.assertEqual(greet.greet(), 'hello')\n"
TEST_OTHER = "    def test_other(self):\n        self.fail('always')\n"
UNITTEST = "python3 -m unittest -q tests_of_it"


def plan(verify: str, **more: Any) -> ScriptedReply:
    subtask = {"id": "S1", "title": "Greet", "description": "Greet.", "files": [MODULE], "depends_on": []}
    subtask |= {"acceptance": ["A1"], "verify": verify}
    return ScriptedReply(
        calls=(scripts.call("submit_plan", summary="One.", subtasks=[subtask], verify=[verify], **more),)
    )


def script(*plans: ScriptedReply, code: tuple[ScriptedReply, ...] = ()) -> Script:
    """Return the script of a model that submits these plans one after the other."""
    made = scripts.rules(code=code or (scripts.write(GREETS, MODULE), scripts.DONE))
    rules = [Rule("submit_plan", "", plans) if rule.offers == "submit_plan" else rule for rule in made.rules]
    return Script(tuple(rules))


def events(world: World, kind: str) -> list[dict[str, Any]]:
    lines = (world.run_folder() / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]


def receipt(world: World) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((world.run_folder() / "receipt.json").read_text())
    return content


def add_tests(world: World, *tests: str) -> None:
    (world.repository / MODULE).write_text("def greet():\n    return ''\n")
    (world.repository / "tests_of_it.py").write_text(TESTS + "\n".join(tests))
    world.git("add", "--all")
    world.git("commit", "--quiet", "--message=Tests")


def test_a_command_that_tests_the_change_notices_the_canary(world: World) -> None:
    add_tests(world, TEST_GREET)
    (world.repository / MODULE).chmod(0o755)
    world.git("commit", "--quiet", "--all", "--message=Mode")
    world.provide("anthropic", script(plan(UNITTEST)))
    done = world.autoroute(*RUN)
    assert done.code == 0, done.stderr
    (baseline,) = events(world, "baseline_ended")
    assert (baseline["kind"], baseline["exit_code"]) == ("fails", 1)
    (canary,) = events(world, "canary_ended")
    assert (canary["tested"], canary["files"], canary["commands"]) == (True, [MODULE], [UNITTEST])
    assert world.git("show", f"autoroute/{world.run_folder().name}:{MODULE}") + "\n" == GREETS
    assert world.git("diff", "--summary", "main", f"autoroute/{world.run_folder().name}") == ""
    assert receipt(world)["canary"]["tested"] is True


@pytest.mark.parametrize(("setting", "code"), [("warn", 0), ("require", 10), ("off", 0)])
def test_commands_that_pass_with_the_change_broken_do_not_test_it(world: World, setting: str, code: int) -> None:
    world.environ |= {"AUTOROUTE_VERIFY__CANARY": setting, "AUTOROUTE_LIMITS__MAX_ROUNDS": "1"}
    server = world.provide("anthropic", script(plan(f"test -f {MODULE}")))
    done = world.autoroute(*RUN)
    assert done.code == code, done.stderr
    found = [event["tested"] for event in events(world, "canary_ended")]
    assert found == ([] if setting == "off" else [False])
    warned = f"no verify command tests the change: all pass with {MODULE} made unparsable"
    assert (warned in done.stderr) is (setting != "off")
    (asked,) = [body for request in server.requests if "Round 1 of 1" in (body := json.dumps(request.body))]
    assert ("by what you judged it instead" in asked) is (setting != "off")


def test_a_repository_cannot_switch_the_canary_off(world: World) -> None:
    (world.repository / "autoroute.toml").write_text('[verify]\ncanary = "off"\n')
    world.git("add", "--all")
    world.git("commit", "--quiet", "--message=Settings")
    world.provide("anthropic", script(plan(f"test -f {MODULE}")))
    done = world.autoroute(*RUN)
    assert done.code == 78
    assert "verify.canary" in done.stderr


def test_the_planner_mends_a_command_that_cannot_run_before_coding_begins(world: World) -> None:
    server = world.provide("anthropic", script(plan("nosuchprogram --check"), plan(f"grep hello {MODULE}")))
    done = world.autoroute(*RUN)
    assert done.code == 0, done.stderr
    kinds = [(event["command"], event["kind"]) for event in events(world, "baseline_ended")]
    assert kinds == [("nosuchprogram --check", "cannot_run"), (f"grep hello {MODULE}", "fails")]
    assert any("These cannot be used as they are:" in json.dumps(request.body) for request in server.requests)
    assert len(events(world, "artifact_accepted")) == 4


def test_a_command_that_still_cannot_run_ends_the_run_before_coding(world: World) -> None:
    bad = plan("nosuchprogram --check")
    world.provide("anthropic", script(bad, bad))
    done = world.autoroute(*RUN)
    assert done.code == 78, done.stderr
    assert "nosuchprogram" in done.stderr
    assert "another model" not in done.stderr
    assert events(world, "subtask_started") == []


@pytest.mark.parametrize(("declared", "code"), [(True, 0), (False, 11)])
def test_tests_that_failed_before_count_only_if_the_plan_names_them(world: World, declared: bool, code: int) -> None:
    add_tests(world, TEST_GREET, TEST_OTHER.replace("other", "tax"))
    world.environ["AUTOROUTE_LIMITS__MAX_ATTEMPTS"] = "1"
    names = {"known_failures": ["tests_of_it.T.test_tax"]} if declared else {}
    world.provide("anthropic", script(plan(UNITTEST), plan(UNITTEST, **names)))
    done = world.autoroute(*RUN)
    (baseline,) = events(world, "baseline_ended")
    assert sorted(baseline["failing_tests"]) == ["tests_of_it.T.test_greet", "tests_of_it.T.test_tax"], baseline
    assert baseline["outside_tests"] == ["tests_of_it.T.test_tax"]
    assert done.code == code, done.stderr
    if declared:
        verified = events(world, "verify_ended")
        assert {tuple(event["known_failures"]) for event in verified} == {("tests_of_it.T.test_tax",)}
        assert all(event["passed"] and event["exit_code"] == 1 for event in verified)


def test_a_known_failure_does_not_excuse_another_test(world: World) -> None:
    add_tests(world, TEST_GREET, TEST_OTHER.replace("other", "tax"))
    world.environ["AUTOROUTE_LIMITS__MAX_ATTEMPTS"] = "1"
    better = plan(UNITTEST, known_failures=["tests_of_it.T.test_tax"])
    wrong = (scripts.write("def greet():\n    return 'bye'\n", MODULE), scripts.DONE)
    world.provide("anthropic", script(plan(UNITTEST), better, code=wrong))
    assert world.autoroute(*RUN).code == 11


def test_the_baseline_can_be_switched_off(world: World) -> None:
    world.environ["AUTOROUTE_VERIFY__BASELINE"] = "false"
    world.provide("anthropic", script(plan(f"grep hello {MODULE}")))
    done = world.autoroute(*RUN)
    assert done.code == 0, done.stderr
    assert events(world, "baseline_ended") == []

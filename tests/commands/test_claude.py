"""Whole runs through Claude Code and its logins: with a double of it, and with the real one if there is one.

The real one is that of ``AUTOROUTE_TEST_CLAUDE``, else of the path. No login of the user is ever touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autoroute.demo.script import Script, ScriptedReply
from autoroute.demo.server import PROBE, Fault, ModelServer
from tests.claude import fake_claude
from tests.commands import scripts
from tests.commands.conftest import Result, World
from tests.commands.scripts import call

WORK, HOME = "sk-ant-oat01-canary-of-work", "sk-ant-oat01-canary-of-home"
OPUS = ("--plan", "claude/opus-4.5", "--code", "claude/opus-4.5")
ALWAYS = 10_000
FOREIGN = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/elsewhere",
    "ANTHROPIC_AUTH_TOKEN": "canary-of-a-gateway",
    "ANTHROPIC_MODEL": "glm-4.7",
    "ANTHROPIC_CUSTOM_HEADERS": "x-canary: canary-of-a-header",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "OPENAI_API_KEY": "canary-of-openai",
}
"""Variables of a shell that is set up for another provider."""


@dataclass
class Claude:
    """The ``claude`` command in a user's world: the logins it keeps, and how it was started."""

    world: World
    kind: str
    program: Path

    def log_in(self, name: str, token: str, **facts: Any) -> Path:
        """Store a login like Claude Code does, in the folder of a profile ("" is the default one)."""
        folder = self.world.home / (f".claude-profiles/{name}" if name else ".claude")
        folder.mkdir(parents=True, exist_ok=True)
        login = {"accessToken": token, "refreshToken": f"{token}-refresh", "expiresAt": 4_000_000_000_000}
        login |= {"scopes": ["user:inference", "user:profile"], "subscriptionType": "max", **facts}
        path = folder / ".credentials.json"
        path.write_text(json.dumps({"claudeAiOauth": login}))
        path.chmod(0o600)
        return folder

    def provide(self, script: Script | None = None, **options: Any) -> ModelServer:
        """Start a server that stands in for Anthropic, and accepts any token of a login."""
        return self.world.provide("claude", script or scripts.rules(), keys={}, **options)

    def run(self, *arguments: str, **environ: str) -> Result:
        self.world.environ |= environ
        return self.world.autoroute("run", "task.md", *arguments)

    def started(self) -> list[dict[str, Any]]:
        """Return how the double was started for conversations."""
        path = self.program.with_name("started.jsonl")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if "-p" in line["argv"]]


@pytest.fixture(params=["fake", "real"])
def claude(world: World, request: pytest.FixtureRequest, tmp_path: Path) -> Claude:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "claude"
    if request.param == "real":
        found = os.environ.get("AUTOROUTE_TEST_CLAUDE") or shutil.which("claude")
        if not found:
            pytest.skip("claude command not found: set AUTOROUTE_TEST_CLAUDE to its path")
        program.symlink_to(Path(found).resolve())
    else:
        code = Path(fake_claude.__file__).read_text(encoding="utf-8").partition("\n")[2]
        program.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
        program.chmod(0o755)
    world.environ["PATH"] = f"{folder}:{world.environ['PATH']}"
    return Claude(world, request.param, program)


def receipt(world: World) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((world.run_folder() / "receipt.json").read_text())
    return data


def served_by(world: World) -> list[tuple[str, str, str]]:
    """Return phase, provider and account of each row of the receipt with turns."""
    return [(row["phase"], row["provider"], row["account"]) for row in receipt(world)["phases"] if row["turns"]]


def tokens(server: ModelServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.turns]


def window(
    token: str, claim: str = "five_hour", *, seconds: float, offers: str = "edit", times: int = ALWAYS, **more: Any
) -> Fault:
    """Return a fault whose headers report a used-up window of a subscription."""
    short = {"five_hour": "5h", "seven_day": "7d", "seven_day_opus": "7d_opus"}[claim]
    reset = str(int(time.time() + seconds))
    headers = {"status": "rejected", "representative-claim": claim, "reset": reset}
    headers |= {f"{short}-status": "rejected", f"{short}-reset": reset, f"{short}-utilization": "1.0"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "This request would exceed your limit."}}
    named = {f"anthropic-ratelimit-unified-{name}": value for name, value in headers.items()}
    return Fault("status", offers=offers, key=token, times=times, status=429, headers=named, body=body, **more)


def refused(token: str, status: int, type: str, words: str, offers: str = "edit") -> Fault:
    body = {"type": "error", "error": {"type": type, "message": words}}
    return Fault("status", offers=offers, key=token, times=ALWAYS, status=status, body=body)


def holding(world: World, canary: str, apart: Sequence[Path] = ()) -> list[str]:
    """Return every file below the user's home and project that contains the canary."""
    found = []
    for top in (world.home, world.repository):
        for path in top.rglob("*"):
            if path.is_file() and path not in apart and canary.encode() in path.read_bytes():
                found.append(str(path.relative_to(top)))
    return found


def fingerprint(folder: Path) -> Mapping[str, str]:
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mode}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_all_four_phases_use_the_login_and_the_receipt_proves_it(claude: Claude) -> None:
    world, server = claude.world, claude.provide()
    login = claude.log_in("", HOME)
    done = claude.run("--plan", "opus-4.5", "--code", "sonnet")
    assert (done.code, done.stdout.splitlines()[0]) == (0, "approved: approved by qa, and every verify command passed")
    assert "using your Claude login for opus-4.5; use anthropic/opus-4.5 for the API key" in done.stderr
    assert "write hello.txt" in done.stderr
    rows = receipt(world)["phases"]
    assert [(row["phase"], row["model"], row["served"]) for row in rows] == [
        ("spec", "claude-opus-4-5", ["claude-opus-4-5"]),
        ("planning", "claude-opus-4-5", ["claude-opus-4-5"]),
        ("coding", "claude-sonnet-5-5", ["claude-sonnet-5-5"]),
        ("qa", "claude-opus-4-5", ["claude-opus-4-5"]),
    ]
    assert {(row["provider"], row["account"], row["runner"], row["cost_usd"]) for row in rows} == {
        ("claude", "default", "claude-code", 0.0)
    }
    assert all(row["tokens"]["output"] > 0 for row in rows)
    assert set(tokens(server)) == {HOME}
    assert len(server.turns) == 5, "no request beyond the turns of the run"
    assert "Autoroute-Model: claude/claude-sonnet-5-5" in world.git(
        "log", "-1", "--format=%B", "--branches=autoroute/*"
    )
    assert holding(world, HOME, apart=[login / ".credentials.json"]) == []


def test_a_phase_has_its_own_tools_and_no_others(claude: Claude) -> None:
    server = claude.provide()
    claude.log_in("", HOME)
    assert claude.run(*OPUS).code == 0
    offered = {
        tuple(sorted(tool["name"].removeprefix("mcp__autoroute__") for tool in request.body["tools"]))
        for request in server.turns
    }
    assert offered == {
        ("ask", "find", "grep", "read", "submit_spec"),
        ("find", "grep", "read", "submit_plan"),
        ("bash", "edit", "find", "grep", "read", "write"),
        ("bash", "find", "grep", "read", "submit_review"),
    }


def test_claude_plans_and_glm_codes_and_neither_gets_the_others_credentials(claude: Claude) -> None:
    world, server = claude.world, claude.provide()
    zai = world.provide("zai", scripts.rules())
    claude.log_in("", HOME)
    done = claude.run("--plan", "claude/opus-4.5", "--code", "zai/glm-4.7", **FOREIGN)
    assert done.code == 0, done.stderr
    assert served_by(world) == [
        ("spec", "claude", "default"),
        ("planning", "claude", "default"),
        ("coding", "zai", "default"),
        ("qa", "claude", "default"),
    ]
    assert set(tokens(server)) == {HOME}
    assert all("x-canary" not in request.headers for request in server.requests)
    assert all(HOME not in str(request.headers) for request in zai.requests)
    if claude.kind == "fake":
        for start in claude.started():
            strange = {name for name in start["environ"] if name.startswith(("ANTHROPIC_", "OPENAI_", "ZAI_"))}
            assert strange == {"ANTHROPIC_BASE_URL"}, "the loopback server that stands in for the vendor"
            assert start["environ"]["ANTHROPIC_BASE_URL"] == f"{server.url}/claude/base"
            assert not any("canary" in word for word in start["argv"])
            assert "canary" not in str({k: v for k, v in start["environ"].items() if "COVERAGE" not in k})


def test_glm_runs_in_claude_code_with_its_own_key_and_a_separate_folder(claude: Claude) -> None:
    world = claude.world
    zai = world.provide("zai", scripts.rules())
    world.configure({"providers": {"zai": {"base_url": f"{zai.url}/zai/base", "runner": "claude-code"}}})
    login = claude.log_in("", HOME)
    before = fingerprint(login)
    done = claude.run("--plan", "zai/glm-4.7", "--code", "zai/glm-4.7", **FOREIGN)
    assert done.code == 0, done.stderr
    assert {(row["provider"], row["runner"]) for row in receipt(world)["phases"]} == {("zai", "claude-code")}
    assert set(tokens(zai)) == {world.environ["ZAI_API_KEY"]}
    assert {request.body["model"] for request in zai.turns} == {"glm-4.7"}
    assert fingerprint(login) == before
    assert holding(world, world.environ["ZAI_API_KEY"]) == []
    if claude.kind == "fake":
        for start in claude.started():
            environ = start["environ"]
            assert environ["ANTHROPIC_AUTH_TOKEN"] == world.environ["ZAI_API_KEY"]
            assert environ["ANTHROPIC_BASE_URL"] == f"{zai.url}/zai/base"
            assert environ["ANTHROPIC_API_KEY"] == ""
            assert environ["CLAUDE_CONFIG_DIR"].startswith(str(world.home / "state"))
            assert {environ[f"ANTHROPIC_DEFAULT_{tier}_MODEL"] for tier in ("OPUS", "SONNET", "HAIKU")} == {"glm-4.7"}


def waits_until(moment: float) -> str:
    return f"{sys.executable} -c 'import time\nwhile time.time() < {moment}: time.sleep(0.05)'"


def test_at_a_session_limit_the_next_profile_takes_over_until_the_reset(
    claude: Claude,
) -> None:
    world, reset = claude.world, time.time() + 6
    script = scripts.rules(plan=scripts.plan(verify=waits_until(reset + 1.5), whole="true"))
    server = claude.provide(script, faults=[window(WORK, seconds=6, answered=1)])
    claude.log_in("home", HOME)
    claude.log_in("work", WORK)
    world.environ |= {"AUTOROUTE_CLAUDE__AUTO_SWITCH": "true", "AUTOROUTE_CLAUDE__ORDER": "work,home"}
    done = claude.run(*OPUS, "--on-limit", "switch")
    assert done.code == 0, done.stderr
    assert served_by(world) == [
        ("spec", "claude", "work"),
        ("planning", "claude", "work"),
        ("coding", "claude", "work"),
        ("coding", "claude", "home"),
        ("qa", "claude", "work"),
    ]
    (decision,) = receipt(world)["decisions"]
    assert (decision["error"], decision["limit"], decision["action"], decision["by"]) == (
        "LimitReached",
        "five_hour",
        "switch",
        "policy",
    )
    assert (decision["account"], decision["to_account"]) == ("work", "home")
    told = next(request for request in server.turns if request.headers["authorization"].endswith(HOME))
    assert "[called write" in json.dumps(told.body["messages"]), "the conversation continued, it did not start again"
    assert (world.run_folder() / "receipt.json").exists()


def test_the_next_run_knows_the_limit_of_a_profile_and_its_reset(claude: Claude) -> None:
    world = claude.world
    claude.provide(faults=[window(WORK, seconds=3 * 3600)])
    claude.log_in("home", HOME)
    claude.log_in("work", WORK)
    world.environ |= {"AUTOROUTE_CLAUDE__AUTO_SWITCH": "true", "AUTOROUTE_CLAUDE__ORDER": "work,home"}
    assert claude.run(*OPUS).code == 0
    listed = json.loads(world.autoroute("profiles", "list", "--json").stdout)
    work, home = listed[0], listed[1]
    assert (work["profile"], work["logged_in"], work["method"]) == ("work", True, "claude.ai")
    (limit,) = work["limits"]
    assert (limit["limit"], limit["model"]) == ("five_hour", ""), "every model of the account is limited"
    ahead = datetime.fromisoformat(limit["until"]) - datetime.now(UTC)
    assert timedelta(hours=2.9) < ahead < timedelta(hours=3.1)
    assert (home["profile"], home["limits"]) == ("home", [])
    shutil.rmtree(world.run_folder())
    assert claude.run("--plan", "claude/sonnet", "--code", "claude/sonnet").code == 0
    assert {account for _, _, account in served_by(world)} == {"home"}


def test_without_auto_switch_no_login_takes_over_in_ci(claude: Claude) -> None:
    world, server = claude.world, claude.provide(faults=[window(WORK, seconds=3 * 3600)])
    claude.log_in("work", WORK)
    claude.log_in("other", HOME)
    world.environ["AUTOROUTE_CLAUDE__ORDER"] = "work,other"
    done = claude.run(*OPUS)
    assert done.code == 75, done.stderr
    assert set(tokens(server)) == {WORK}
    assert "switches between logins need auto_switch = true" in done.stderr
    assert "autoroute resume" in done.stderr


def test_a_limit_of_one_model_does_not_block_the_others_of_the_account(claude: Claude) -> None:
    world = claude.world
    claude.provide(faults=[window(WORK, "seven_day_opus", seconds=80 * 3600, offers="submit_spec", times=1)])
    claude.log_in("", WORK)
    done = claude.run("--spec", "claude/opus-4.5", "--plan", "claude/sonnet", "--code", "claude/sonnet",
                      "--fallback", "spec=claude/sonnet")  # fmt: skip
    assert done.code == 0, done.stderr
    assert {(row["model"], row["account"]) for row in receipt(world)["phases"] if row["turns"]} == {
        ("claude-sonnet-5-5", "default")
    }
    assert receipt(world)["decisions"][0]["limit"] == "week"


def test_a_conversation_moves_from_a_login_to_a_key_and_back(claude: Claude) -> None:
    world = claude.world
    server = claude.provide(faults=[window(WORK, seconds=3 * 3600, answered=1)])
    burst = {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}}
    zai = world.provide("zai", scripts.rules(), faults=[Fault("status", offers="submit_plan", status=429, body=burst)])
    claude.log_in("", WORK)
    flags = ("--plan", "zai/glm-4.7", "--spec", "claude/opus-4.5", "--code", "claude/opus-4.5", "--qa", "zai/glm-4.7")
    ways = ("--fallback", "coding=zai/glm-4.7", "--fallback", "planning=claude/opus-4.5")
    refused = claude.run(*flags, *ways, "--max-wait", "0")
    assert refused.code == 75, "a route that is paid for each token must not replace a plan without a question"
    assert "allow_paid = true permits that" in refused.stderr
    world.environ["AUTOROUTE_RECOVERY__ALLOW_PAID"] = "true"
    done = world.autoroute("resume")
    assert done.code == 0, done.stderr
    assert served_by(world) == [
        ("spec", "claude", "default"),
        ("planning", "claude", "default"),
        ("coding", "claude", "default"),
        ("coding", "zai", "default"),
        ("qa", "zai", "default"),
    ]
    told = next(request for request in zai.turns if "edit" in json.dumps(request.body["tools"]))
    (call_, result) = told.body["messages"][1]["content"][-1], told.body["messages"][2]["content"][0]
    assert (call_["type"], call_["name"], result["type"]) == ("tool_use", "write", "tool_result")
    assert all(WORK not in str(request.headers) for request in zai.requests)
    assert set(tokens(server)) == {WORK}


def test_a_login_that_expires_during_a_run_is_reported_with_the_command_to_log_in(claude: Claude) -> None:
    words = "OAuth token has expired. Please obtain a new token or refresh your existing token."
    claude.provide(faults=[refused(WORK, 401, "authentication_error", words)])
    folder = claude.log_in("work", WORK)
    claude.world.environ["AUTOROUTE_CLAUDE__ORDER"] = "work"
    done = claude.run(*OPUS)
    assert done.code == 77, done.stderr
    assert f"autoroute profiles login work, or CLAUDE_CONFIG_DIR={folder} claude auth login" in done.stderr
    assert "coding" in done.stderr
    assert "account work" in done.stderr
    resumed = claude.world.autoroute("resume")
    assert resumed.code == 77, "the login is tried again, and still rejected"


def test_another_profile_takes_over_from_an_expired_login_if_allowed(claude: Claude) -> None:
    world = claude.world
    claude.provide(faults=[refused(WORK, 401, "authentication_error", "OAuth token has expired.")])
    claude.log_in("work", WORK)
    claude.log_in("zz", HOME)
    world.environ |= {"AUTOROUTE_CLAUDE__AUTO_SWITCH": "true", "AUTOROUTE_CLAUDE__ORDER": "work"}
    assert claude.run(*OPUS).code == 0
    assert ("coding", "claude", "zz") in served_by(world)


def test_a_missing_login_is_reported_before_any_request(claude: Claude) -> None:
    server = claude.provide()
    done = claude.run(*OPUS)
    assert done.code == 77
    assert "Claude profile default is not logged in" in done.stderr
    assert "hint: autoroute profiles login default, or claude auth login" in done.stderr
    assert server.requests == []


def test_without_the_claude_command_the_hint_says_how_to_install_it(world: World) -> None:
    world.environ["PATH"] = "/usr/bin:/bin"
    done = world.autoroute("run", "task.md", *OPUS)
    assert done.code == 78
    assert "claude command not found" in done.stderr
    assert "npm install -g @anthropic-ai/claude-code" in done.stderr


def test_without_a_login_a_bare_model_uses_the_key(claude: Claude) -> None:
    world = claude.world
    world.provide("anthropic", scripts.rules())
    assert claude.run("--plan", "opus-4.5").code == 0
    assert {provider for _, provider, _ in served_by(world)} == {"anthropic"}


def test_a_token_of_the_environment_comes_before_the_default_login(claude: Claude) -> None:
    world, server = claude.world, claude.provide()
    login = claude.log_in("", HOME)
    before = fingerprint(login)
    assert claude.run(*OPUS, CLAUDE_CODE_OAUTH_TOKEN=WORK).code == 0
    assert set(tokens(server)) == {WORK}
    assert {account for _, _, account in served_by(world)} == {"token"}
    assert fingerprint(login) == before, "a token gets a folder of its own"
    assert holding(world, WORK) == []


def test_existing_profiles_are_not_changed(claude: Claude) -> None:
    world = claude.world
    claude.provide(faults=[window(WORK, seconds=3 * 3600)])
    folders = [claude.log_in("", HOME), claude.log_in("work", WORK)]
    for folder in folders:
        (folder / "settings.json").write_text(
            '{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9/x"}, "model": "opus"}'
        )
        (folder / "projects").mkdir()
        (folder / "projects/old.jsonl").write_text("{}\n")
    before = [fingerprint(folder) for folder in folders]
    world.environ |= {"AUTOROUTE_CLAUDE__AUTO_SWITCH": "true", "AUTOROUTE_CLAUDE__ORDER": "work"}
    assert claude.run(*OPUS).code == 0
    for folder, known in zip(folders, before, strict=True):
        now = fingerprint(folder)
        assert {name: now.get(name) for name in known} == known
        # Claude Code may write files of its own, but no session and no credential.
        assert not [name for name in set(now) - set(known) if name.startswith(("projects", ".credentials", "settings"))]


def test_a_reply_of_another_model_stops_the_phase_with_both_names(claude: Claude) -> None:
    claude.provide(served_models={"claude-opus-4-5": "claude-haiku-5-5"})
    claude.log_in("", HOME)
    done = claude.run(*OPUS, "--no-probe")
    assert done.code == 69
    assert "claude-haiku-5-5 answered a request for claude-opus-4-5" in done.stderr


def test_a_temporary_error_is_retried_and_the_conversation_continues(claude: Claude) -> None:
    overloaded = Fault(
        "status",
        offers="edit",
        status=529,
        body={"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    )
    cut = Fault("cut", offers="submit_plan", after_events=3)
    server = claude.provide(faults=[overloaded, cut])
    claude.log_in("", HOME)
    done = claude.run(*OPUS)
    assert done.code == 0, done.stderr
    assert "Overloaded" in done.stderr
    coding = [request for request in server.turns if "mcp__autoroute__edit" in json.dumps(request.body["tools"])]
    assert [request.status for request in coding] == [529, 200, 200]
    assert receipt(claude.world)["phases"][2]["retries"] == 1


def test_a_rejected_artifact_goes_back_with_the_reason(claude: Claude) -> None:
    bad = ScriptedReply(calls=(call("submit_spec", title="x"),))
    words = ScriptedReply(text="Here is my spec: hello.")
    rules = scripts.rules()
    script = Script(
        tuple(
            type(rule)(rule.offers, rule.says, (words, bad, *rule.replies)) if rule.offers == "submit_spec" else rule
            for rule in rules.rules
        )
    )
    server = claude.provide(script)
    claude.log_in("", HOME)
    done = claude.run(*OPUS)
    assert done.code == 0, done.stderr
    spec = [request for request in server.turns if "submit_spec" in json.dumps(request.body["tools"])]
    said = json.dumps(spec[-1].body["messages"])
    assert "without calling `submit_spec`" in said
    assert "acceptance" in said


def test_claude_code_does_not_read_a_file_that_a_text_mentions(claude: Claude) -> None:
    """By default Claude Code reads each file that a user message mentions as @path, and the messages contain foreign text."""
    world, server = (
        claude.world,
        claude.provide(scripts.rules(code=(scripts.write("hello, world @secret"), scripts.DONE))),
    )
    claude.log_in("", HOME)
    secret = world.home / "secret"
    secret.write_text("canary-of-a-private-file")
    world.task(f"# Greet the world\n\nAs in @{secret} and @~/secret and @README.\n")
    done = claude.run(*OPUS)
    assert done.code == 0, done.stderr
    assert all(b"canary-of-a-private-file" not in request.raw for request in server.requests)
    assert all(b"A project." not in request.raw for request in server.requests)


def test_a_long_result_reaches_the_model_complete(claude: Claude) -> None:
    """By default Claude Code writes a result of this length to a file."""
    world = claude.world
    line = "0123456789" * 9 + "\n"
    (world.repository / "long.txt").write_text(line * 1_000)
    world.git("add", "long.txt")
    world.git("commit", "--quiet", "--message=Add a long file")
    look = ScriptedReply(calls=(call("read", path="long.txt"),))
    server = claude.provide(scripts.rules(code=(look, scripts.write(), scripts.DONE)))
    claude.log_in("", HOME)
    assert claude.run(*OPUS).code == 0
    coding = [request for request in server.turns if "mcp__autoroute__edit" in json.dumps(request.body["tools"])]
    assert json.dumps(coding[1].body["messages"]).count("0123456789" * 9) > 900


def test_a_conversation_that_is_too_long_is_compacted_and_sent_to_a_new_process(claude: Claude) -> None:
    world = claude.world
    (world.repository / "long.txt").write_text(("0123456789" * 9 + "\n") * 1_000)
    world.git("add", "long.txt")
    world.git("commit", "--quiet", "--message=Add a long file")
    body = {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}
    too_long = Fault("status", offers="edit", answered=1, status=400, body={"type": "error", "error": body})
    look = ScriptedReply(calls=(call("read", path="long.txt"),))
    server = claude.provide(scripts.rules(code=(look, scripts.write(), scripts.DONE)), faults=[too_long])
    claude.log_in("", HOME)
    done = claude.run(*OPUS)
    assert done.code == 0, done.stderr
    (coding,) = [row for row in receipt(world)["phases"] if row["phase"] == "coding"]
    assert (coding["compactions"], coding["account"]) == (1, "default")
    asked = [request for request in server.turns if "mcp__autoroute__edit" in json.dumps(request.body["tools"])]
    assert len(asked[2].raw) < len(asked[1].raw) / 2
    assert "You have begun this already" in json.dumps(asked[2].body["messages"])


def test_a_reply_at_the_output_limit_leads_to_no_request_of_claude_code_itself(claude: Claude) -> None:
    cut = ScriptedReply(text="And so on and", cut=True)
    server = claude.provide(scripts.rules(code=(cut, scripts.write(), scripts.DONE)))
    claude.log_in("", HOME)
    done = claude.run(*OPUS)
    assert done.code == 0, done.stderr
    coding = [request for request in server.turns if "mcp__autoroute__edit" in json.dumps(request.body["tools"])]
    # Claude Code may have begun one more request before it was ended.
    assert len(coding) <= 4
    assert "Your reply was cut at the output limit" in json.dumps(coding[-1].body["messages"])


def test_a_resumed_run_uses_no_other_login_without_a_setting(claude: Claude) -> None:
    world = claude.world
    claude.provide(faults=[refused(WORK, 401, "authentication_error", "OAuth token has expired.")])
    work = claude.log_in("work", WORK)
    claude.log_in("zz", HOME)
    world.environ["AUTOROUTE_CLAUDE__ORDER"] = "work,zz"
    assert claude.run("--plan", "opus-4.5", "--code", "opus-4.5").code == 77
    (work / ".credentials.json").unlink()
    world.environ["ANTHROPIC_API_KEY"] = "canary-of-a-key-that-pays"
    done = world.autoroute("resume")
    assert done.code == 77, done.stderr
    assert "Claude profile work is not logged in" in done.stderr
    assert world.autoroute("profiles", "use", "zz").code == 0
    world.environ["AUTOROUTE_CLAUDE__ORDER"] = "zz"
    done = world.autoroute("resume")
    assert done.code == 0, done.stderr
    assert "coding continues with claude/claude-opus-4-5 on account zz, not work" in done.stderr


def test_a_token_budget_stops_the_run_before_the_next_request(claude: Claude) -> None:
    claude.provide()
    claude.log_in("", HOME)
    claude.world.environ["AUTOROUTE_BUDGET__TOKENS"] = "34000"
    done = claude.run(*OPUS, "--no-probe")
    assert done.code == 12, done.stderr


def test_paid_extra_usage_is_not_used_without_permission(claude: Claude) -> None:
    soon = str(int(time.time() + 3 * 3600))
    told = {"status": "allowed", "representative-claim": "five_hour", "reset": soon, "overage": "true"}
    if claude.kind == "real":
        pytest.skip("the headers that make the real Claude Code report isUsingOverage are unknown")
    headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in told.items()}
    server = claude.provide(headers=headers)
    claude.log_in("", HOME)
    done = claude.run("--plan", "claude/opus-4.5", "--code", "claude/opus-4.5", "--no-probe")
    assert done.code == 75, done.stderr
    assert "paid extra usage, which needs allow_paid = true" in done.stderr
    assert len(server.turns) == 1
    claude.world.environ["AUTOROUTE_RECOVERY__ALLOW_PAID"] = "true"
    assert claude.world.autoroute("resume").code == 0, "a limit of a setting must not be recorded as a cooldown"


def test_a_profile_above_its_threshold_is_left_for_another_one(claude: Claude) -> None:
    soon = str(int(time.time() + 3 * 3600))
    told = {"status": "allowed_warning", "representative-claim": "five_hour", "reset": soon}
    told |= {"5h-utilization": "0.96", "5h-reset": soon, "5h-status": "allowed_warning"}
    told |= {"7d-utilization": "0.96", "7d-reset": soon, "7d-status": "allowed"}
    headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in told.items()}
    world = claude.world
    claude.provide(headers=headers)
    claude.log_in("work", WORK)
    claude.log_in("zz", HOME)
    world.environ |= {"AUTOROUTE_CLAUDE__AUTO_SWITCH": "true", "AUTOROUTE_CLAUDE__ORDER": "work,zz"}
    done = claude.run(*OPUS, "--no-probe")
    assert done.code == 0, done.stderr
    assert "96 % of the five-hour window is used (threshold: 95 %)" in done.stderr
    accounts = [account for _, _, account in served_by(world)]
    assert accounts[0] == "work"
    assert "zz" in accounts
    assert json.loads(world.autoroute("profiles", "list", "--json").stdout)[0]["limits"] == [], "it would still answer"
    shutil.rmtree(world.run_folder())
    assert claude.run(*OPUS, "--no-probe", AUTOROUTE_CLAUDE__AUTO_SWITCH="false").code == 0
    assert {account for _, _, account in served_by(world)} == {"work"}


def test_after_a_kill_no_request_is_sent_until_the_run_is_resumed(claude: Claude) -> None:
    world = claude.world
    slow = ScriptedReply(calls=(call("bash", command="touch begun; sleep 30"),))
    server = claude.provide(scripts.rules(code=(slow, scripts.write(), scripts.DONE)))
    claude.log_in("", HOME)
    running = subprocess.Popen(
        world.command("run", "task.md", *OPUS), cwd=world.repository, env=world.environ,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(world.home.glob("state/autoroute/workspaces/*/tree/begun")) and time.monotonic() < deadline:
        time.sleep(0.02)
    asked = len(server.turns)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = world.autoroute("resume")
    assert done.code == 0, done.stderr
    coding = [request for request in server.turns if "mcp__autoroute__edit" in json.dumps(request.body["tools"])]
    assert len(server.turns) - asked <= 4, "two turns of coding, one of qa, and at most the one in flight"
    assert "was cut off" in json.dumps(coding[-2].body["messages"]) or "not run again" in json.dumps(coding[-2].body)


def test_ctrl_c_ends_claude_code_too(claude: Claude) -> None:
    world = claude.world
    server = claude.provide(faults=[Fault("stall", offers="edit")])
    claude.log_in("", HOME)
    running = subprocess.Popen(
        world.command("run", "task.md", *OPUS), cwd=world.repository, env=world.environ,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any("mcp__autoroute__edit" in json.dumps(r.body.get("tools", [])) for r in server.turns):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "autoroute resume" in said
    marked = [
        p for p in Path("/proc").glob("[0-9]*/environ") if readable(p) and str(world.home).encode() in readable(p)
    ]
    assert marked == []


def readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_doctor_checks_logins_without_a_request(claude: Claude) -> None:
    server = claude.provide()
    folder = claude.log_in("work", WORK)
    (folder / ".claude.json").write_text('{"hasCompletedOnboarding": true}')
    claude.world.environ["AUTOROUTE_CLAUDE__ORDER"] = "work"
    rows = json.loads(claude.world.autoroute("doctor", "--json", *OPUS).stdout)
    found = {row["category"]: row for row in rows if row["id"].startswith("route.claude/")}
    assert (found["binary"]["status"], found["login"]["status"]) == ("ok", "ok")
    assert found["login"]["summary"].startswith("profile work is logged in (claude.ai, plan max")
    assert "onboarding" not in found
    assert server.requests == []
    (folder / ".claude.json").unlink()
    rows = json.loads(claude.world.autoroute("doctor", "--json", *OPUS).stdout)
    assert next(row for row in rows if row["category"] == "onboarding")["status"] == "warning"


def test_a_model_that_the_plan_does_not_include_is_found_before_the_run(claude: Claude) -> None:
    missing = refused(WORK, 404, "not_found_error", "model: claude-opus-4-5", offers=PROBE)
    claude.provide(faults=[missing])
    claude.log_in("", WORK)
    done = claude.run(*OPUS)
    assert done.code == 78, done.stderr
    assert "claude-opus-4-5" in done.stderr

"""The checks before a token is spent, against loopback servers that stand in for providers."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import tomli_w

from autoroute.demo.script import Rule, Script, ScriptedCall, ScriptedReply
from autoroute.demo.server import FREE_GET, PROBE, Fault, ModelServer
from autoroute.errors import AutorouteError, Busy, ExitCode, LimitReached, ProviderError, Unauthorized
from autoroute.preflight import Preflight, PreflightReport
from autoroute.preflight.probe_cache import ProbeCache
from autoroute.preflight.results import CheckResult, raise_for_errors, worst_exit_code
from autoroute.preflight.route_checks import ProbeMode
from autoroute.preflight.services import PreflightServices
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.prices import Prices
from autoroute.routing import Phase, Route
from tests.config.desk import Desk

CANARY = "canary-{}-0123456789"
PLAN_OPUS_CODE_GLM = {"phases": {"plan": {"model": "opus-4.5"}, "code": {"model": "glm-4.7"}}}


@dataclass
class Clinic:
    """Loopback providers with keys of their own, and preflight for routes to them."""

    desk: Desk
    stack: ExitStack
    servers: dict[str, ModelServer] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    @property
    def cooldowns(self) -> Cooldowns:
        return Cooldowns(self.desk.folder / "cooldowns", lambda: self.now)

    def provide(
        self, name: str, script: Script | None = None, table: Mapping[str, Any] | None = None, **options: Any
    ) -> ModelServer:
        key = CANARY.format(name)
        server = self.stack.enter_context(ModelServer(script or Script(()), **{"keys": {name: key}, **options}))
        self.servers[name] = server
        self.tables[name] = {
            "base_url": f"{server.url}/{name}/a/b",
            "key_env": [f"{name.upper()}_KEY"],
            **(table or {}),
        }
        self.desk.environ[f"{name.upper()}_KEY"] = key
        return server

    def preflight(self, flags: Mapping[str, Any]) -> Preflight:
        self.desk.user(tomli_w.dumps({"providers": self.tables}))
        resolved = self.desk.load(flags)
        return Preflight(
            PreflightServices(
                resolved.config,
                resolved.credentials,
                resolved.catalog,
                Prices(resolved.catalog, resolved.profiles),
                self.cooldowns,
                ProbeCache(self.desk.folder / "probes", lambda: self.now),
                lambda: self.now,
            )
        )

    def primary(self, phase: Phase) -> Route:
        return self.preflight(PLAN_OPUS_CODE_GLM).services.config.phases[phase].primary

    def run(
        self, flags: Mapping[str, Any] = PLAN_OPUS_CODE_GLM, probe_mode: ProbeMode = "if_unknown"
    ) -> PreflightReport:
        report = self.preflight(flags).run(probe_mode)
        assert "canary" not in json.dumps([result.as_json() for result in report.results])
        return report


@pytest.fixture
def clinic(desk: Desk) -> Iterator[Clinic]:
    with ExitStack() as stack:
        made = Clinic(desk, stack)
        yield made
        for server in made.servers.values():
            assert server.violations == [] or server.reasoning_replay


def bad(report: PreflightReport) -> list[CheckResult]:
    return [result for result in report.results if result.status == "error"]


def only(report: PreflightReport) -> CheckResult:
    (result,) = bad(report)
    return result


def posts(server: ModelServer) -> int:
    return sum(request.method == "POST" for request in server.requests)


def probed(*replies: ScriptedReply) -> Script:
    return Script((Rule(PROBE, "", replies),))


def test_with_good_routes_every_check_is_ok(clinic: Clinic) -> None:
    claude = clinic.provide("anthropic", models=["claude-opus-4-5-20251101"])
    clinic.provide("zai", models=["glm-4.7"])
    report = clinic.run()
    assert bad(report) == []
    assert worst_exit_code(report.results) == ExitCode.APPROVED
    assert {result.status for result in report.results} == {"ok"}
    assert report.tokens > 0
    raise_for_errors(report.results)
    # Three phases use one route: one free request, one probe.
    assert [request.method for request in claude.requests] == ["GET", "POST", "POST"]


def test_a_successful_probe_is_valid_for_a_day(clinic: Clinic) -> None:
    server = clinic.provide("zai")
    flags = {"phases": {"plan": {"model": "glm-4.7"}, "code": {"model": "glm-4.7"}}}
    for expected in (2, 2):
        clinic.run(flags)
        assert posts(server) == expected
    clinic.run(flags, "always")
    assert posts(server) == 4
    clinic.now += timedelta(days=1, minutes=1)
    clinic.run(flags, "cache_only")
    assert posts(server) == 4
    clinic.run(flags)
    assert posts(server) == 6


def test_a_route_without_a_probe_is_a_warning(clinic: Clinic) -> None:
    server = clinic.provide("zai")
    report = clinic.run({"phases": {"plan": {"model": "glm-4.7"}, "code": {"model": "glm-4.7"}}}, "never")
    assert posts(server) == 0
    assert [f.status for f in report.results if f.category == "tools"] == ["warning"]


def test_a_missing_key_names_phases_variables_and_the_fix(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    server = clinic.provide("zai")
    del clinic.desk.environ["ZAI_KEY"]
    result = only(clinic.run())
    assert result.exit_code == ExitCode.CREDENTIALS
    assert result.details["phases"] == ["coding"]
    assert "no key found for Z.AI (zai): tried ZAI_KEY" in result.summary
    assert "export ZAI_KEY=" in result.remediation
    assert "autoroute login zai" in result.remediation
    assert server.requests == []
    with pytest.raises(Unauthorized, match=r"coding \(zai/glm-4\.7\): no key found for Z\.AI"):
        raise_for_errors([result])


def test_fallbacks_are_checked_too(clinic: Clinic) -> None:
    for name in ("anthropic", "zai", "deepseek"):
        clinic.provide(name)
    del clinic.desk.environ["DEEPSEEK_KEY"]
    code = {"model": "glm-4.7", "fallback": ["deepseek/deepseek-v4-pro"]}
    report = clinic.run({"phases": {"plan": {"model": "opus-4.5"}, "code": code}})
    assert only(report).details["route"] == "deepseek/deepseek-v4-pro"


def zai_error(code: str, message: str, status: int = 429) -> dict[str, Any]:
    return {"status": status, "body": {"error": {"code": code, "message": message}}}


@pytest.mark.parametrize(
    ("fault", "exit_code", "message", "hint"),
    [
        (Fault("status", offers=FREE_GET, times=9, **zai_error("1002", "Authorization Token Invalid", 401)), 77, "Authorization Token Invalid (401 1002)", "ZAI_KEY"),
        (Fault("status", offers=PROBE, times=9, **zai_error("1113", "Insufficient balance or no resource package. Please recharge.")), 77, "no resource package", "zai-coding-plan/MODEL"),
        (Fault("status", offers=PROBE, times=9, **zai_error("1315", "This key is not for this product")), 77, "not for this product", "keys of a GLM Coding Plan"),
        (Fault("status", offers=PROBE, times=9, **zai_error("1211", "Unknown Model", 400)), 78, "Unknown Model", "zai/MODEL"),
        (Fault("status", offers=PROBE, times=9, status=502, body="<html>Bad Gateway</html>"), 69, "", ""),
        (Fault("cut", offers=PROBE, times=9), 69, "cut off", ""),
    ],
    ids=["401", "1113", "1315", "1211", "html 502", "cut"],
)  # fmt: skip
def test_each_failure_has_the_providers_words_and_its_own_exit_code(
    clinic: Clinic, fault: Fault, exit_code: int, message: str, hint: str
) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", faults=[fault])
    result = only(clinic.run())
    assert result.exit_code == exit_code
    assert message in result.summary
    assert hint in result.remediation
    assert "claude" not in (result.summary + result.remediation).lower()


@pytest.mark.parametrize("status", [429, 529])
def test_a_busy_provider_is_not_an_error(clinic: Clinic, status: int) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", faults=[Fault("status", offers=PROBE, **zai_error("1305", "overloaded", status))])
    assert bad(clinic.run()) == []


@pytest.mark.parametrize(("asked", "check"), [(FREE_GET, "key"), (PROBE, "tools")])
def test_a_used_up_limit_is_not_an_error_because_a_run_has_fallbacks_or_waits(
    clinic: Clinic, asked: str, check: str
) -> None:
    clinic.provide("anthropic")
    clinic.now = datetime.now(UTC)  # the wire uses the real time to read the header
    fault = Fault("status", offers=asked, headers={"retry-after": "7200"}, **zai_error("1310", "Weekly limit"))
    clinic.provide("zai", faults=[fault])
    report = clinic.run()
    assert worst_exit_code(report.results) == ExitCode.APPROVED
    (result,) = [row for row in report.results if row.status == "warning" and row.category == check]
    words = r"limited until ([\d-]+ )?\d\d:\d\d UTC: recovery decides when the phase begins \(Weekly limit\)"
    assert re.fullmatch(words, result.summary)
    # The phase knows the limit that the probe met.
    assert [limit.message for limit in clinic.cooldowns.list_active()] == ["Weekly limit"] * (check == "tools")


def test_a_limit_without_a_reset_time_is_reported(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", faults=[Fault("status", offers=PROBE, **zai_error("1310", "Weekly limit"))])
    (result,) = [row for row in clinic.run().results if row.status == "warning"]
    assert result.summary.startswith("limited, with unknown reset time: recovery decides")


@pytest.mark.parametrize(
    ("error", "hours", "until"),
    [(LimitReached, 2, "14:00 UTC"), (LimitReached, 13, "2026-11-24 01:00 UTC"), (Busy, 2, "14:00 UTC")],
)
@pytest.mark.parametrize("probe_mode", ["if_unknown", "always"])
def test_a_route_with_a_known_limit_is_not_probed(
    clinic: Clinic, error: type[ProviderError], hours: int, until: str, probe_mode: ProbeMode
) -> None:
    clinic.provide("anthropic")
    server = clinic.provide("zai")
    route = clinic.primary(Phase.CODING)
    clinic.cooldowns.record(route, error("Usage limit reached", retry_at=clinic.now + timedelta(hours=hours)))
    report = clinic.run(probe_mode=probe_mode)
    rows = [row for row in report.results if row.details["route"] == "zai/glm-4.7"]
    assert [(row.category, row.status) for row in rows] == [
        ("credential", "ok"),
        ("key", "ok"),
        ("quota", "warning"),
        ("limits", "ok"),
        ("model", "skipped"),
        ("tools", "skipped"),
    ]
    assert rows[2].summary == f"limited until {until}: Usage limit reached"
    assert rows[5].summary == f"limited until {until}, so tool calling is not tested now"
    assert (worst_exit_code(report.results), posts(server)) == (ExitCode.APPROVED, 0)
    clinic.now += timedelta(hours=hours)
    assert {row.status for row in clinic.run().results} == {"ok", "skipped"}
    assert posts(server) == 2


def test_a_limited_route_still_reports_its_last_probe(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    server = clinic.provide("zai")
    clinic.run()
    route = clinic.primary(Phase.CODING)
    clinic.cooldowns.record(route, LimitReached("spent", retry_at=clinic.now + timedelta(hours=2)))
    rows = {row.category: row for row in clinic.run().results if row.details["route"] == "zai/glm-4.7"}
    assert (rows["quota"].status, rows["tools"].status, posts(server)) == ("warning", "ok", 2)


def test_probes_stay_within_the_concurrency_limit_of_an_account(clinic: Clinic) -> None:
    server = clinic.provide("zai", table={"max_concurrent": 1})
    names = ("glm-4.5", "glm-4.5-air", "glm-4.6", "glm-4.7", "glm-5", "glm-5.1")
    routes = [f"zai/{name}" for name in names]
    phases = {name: {"model": routes[0], "fallback": routes[1:]} for name in ("plan", "code")}
    assert bad(clinic.run({"phases": phases})) == []
    asked = [request.body["model"] for request in server.requests if request.method == "POST"]
    # The two turns of each probe follow each other directly.
    assert sorted(asked) == sorted(names * 2)
    assert asked[::2] == asked[1::2]


IN_WORDS = probed(ScriptedReply(text="ready"))
NO_JSON = probed(ScriptedReply(calls=(ScriptedCall(PROBE, '{"word": rea'),)), ScriptedReply(text="ready"))
NO_WORD = probed(ScriptedReply(calls=(ScriptedCall(PROBE, "{}"),)), ScriptedReply(text="ready"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (IN_WORDS, "answered in words"),
        (NO_JSON, "an invalid tool call"),
        (NO_WORD, "an invalid tool call"),
        (probed(ScriptedReply(calls=(ScriptedCall(PROBE, '{"word":"ready"}'),))), "the request with the result failed"),
    ],
    ids=["never calls", "no JSON", "wrong arguments", "fails on the second turn"],
)
def test_coding_is_rejected_on_a_model_without_working_tools(clinic: Clinic, script: Script, message: str) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", script)
    result = only(clinic.run())
    assert (result.exit_code, result.details["phases"]) == (ExitCode.CONFIGURATION, ["coding"])
    assert message in result.summary
    assert "--code ROUTE" in result.remediation


@pytest.mark.parametrize("name", ["deepseek", "openrouter"])
def test_missing_reasoning_is_found_on_the_second_turn(clinic: Clinic, name: str) -> None:
    clinic.provide("anthropic")
    clinic.provide(name, reasoning_replay=[name])
    report = clinic.run({"phases": {"plan": {"model": "opus-4.5"}, "code": {"model": f"{name}/some-model"}}})
    # DeepSeek's profile sends reasoning back. OpenRouter's does not, and a server that requires it is found.
    assert ["reasoning_content is missing" in result.summary for result in bad(report)] == [True] * (
        name == "openrouter"
    )


def test_spec_and_planning_work_without_tools(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", IN_WORDS)
    flags = {
        "phases": {
            "spec": {"model": "glm-4.7"},
            "plan": {"model": "glm-4.7"},
            "code": {"model": "sonnet"},
            "qa": {"model": "sonnet"},
        }
    }
    report = clinic.run(flags)
    assert bad(report) == []
    assert {phase: routing.primary.tools for phase, routing in report.config.phases.items()} == {
        Phase.SPEC: False,
        Phase.PLANNING: False,
        Phase.CODING: True,
        Phase.QA: True,
    }
    (warning,) = [result for result in report.results if result.status == "warning"]
    assert "digest of the repository" in warning.summary


def test_a_reply_of_another_model_is_reported_with_both_names(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", served_models={"glm-4.7": "glm-4.5-air"})
    assert "glm-4.5-air answered a request for glm-4.7" in only(clinic.run()).summary


def test_an_unlisted_model_is_a_warning_with_similar_names(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    clinic.provide("zai", models=["glm-4.6", "glm-5"])
    report = clinic.run()
    (result,) = [result for result in report.results if result.category == "model" and result.status != "skipped"]
    assert (result.status, "glm-4.6" in result.remediation) == ("warning", True)


def test_a_model_that_retires_soon_is_reported_with_the_date(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    report = clinic.run({"phases": {"plan": {"model": "opus-4.5"}, "code": {"model": "sonnet-4.5"}}})
    assert "claude-sonnet-4-5 retires on 2026-11-30" in [result.summary for result in report.results]


def test_a_small_context_window_is_rejected_with_the_numbers(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    preflight = clinic.preflight({"phases": {"plan": {"model": "opus-4.5"}}})
    config = preflight.services.config
    coding = config.phases[Phase.CODING]
    small = dataclasses.replace(coding, primary=dataclasses.replace(coding.primary, context=8_000))
    config = dataclasses.replace(config, phases={**config.phases, Phase.CODING: small})
    report = Preflight(dataclasses.replace(preflight.services, config=config)).run("never")
    assert "context window too small for coding: 8000 tokens, at least 32000 needed" in only(report).summary


def test_a_usd_budget_needs_a_price_and_a_token_budget_does_not(clinic: Clinic) -> None:
    clinic.provide("openrouter")
    phases = {name: {"model": "openrouter/nobody/nothing"} for name in ("plan", "code")}
    result = bad(clinic.run({"phases": phases, "budget": {"usd": 1.0}}))[0]
    assert "the price of openrouter/nobody/nothing is unknown" in result.summary
    assert bad(clinic.run({"phases": phases, "budget": {"tokens": 100_000}})) == []
    both = clinic.run({"phases": phases, "budget": {"usd": 1.0, "tokens": 100_000}})
    assert bad(both) == []
    assert any("only the token budget limits it" in result.summary for result in both.results)


def test_a_deeply_nested_response_does_not_crash(clinic: Clinic) -> None:
    deep = "[" * 10_000 + "]" * 10_000
    clinic.provide("anthropic", faults=[Fault("status", offers=FREE_GET, times=9, status=200, body=deep)])
    report = clinic.run({"phases": {"plan": {"model": "opus-4.5"}, "code": {"model": "opus-4.5"}}})
    assert worst_exit_code(report.results) in (ExitCode.APPROVED, ExitCode.UNAVAILABLE)


def test_a_bug_in_a_check_is_raised_to_the_caller_and_not_printed(
    clinic: Clinic, capfd: pytest.CaptureFixture[str]
) -> None:
    clinic.provide("zai")
    flags = {"phases": {"plan": {"model": "glm-4.7"}, "code": {"model": "glm-4.7"}}}

    def clock() -> datetime:
        raise RuntimeError("a bug")

    clinic.run(flags)
    capfd.readouterr()
    probe_cache = ProbeCache(clinic.desk.folder / "probes", clock)
    services = dataclasses.replace(clinic.preflight(flags).services, probe_cache=probe_cache)
    with pytest.raises(RuntimeError, match="a bug"):
        Preflight(services).run("if_unknown")
    assert capfd.readouterr() == ("", "")


def test_no_provider_gets_the_key_of_another(clinic: Clinic) -> None:
    names = ["anthropic", "zai", "openai", "deepseek", "moonshot"]
    for name in names:
        clinic.provide(name)
    flags = {
        "phases": {
            "spec": {"model": "anthropic/opus-4.5"},
            "plan": {"model": "zai/glm-4.7"},
            "code": {"model": "openai/gpt-5.1", "fallback": ["moonshot/kimi-k2.6"]},
            "qa": {"model": "deepseek/deepseek-v4-pro"},
        }
    }
    assert bad(clinic.run(flags)) == []
    for name, server in clinic.servers.items():
        seen = json.dumps([dict(request.headers) for request in server.requests]) + str(
            [r.raw for r in server.requests]
        )
        assert {other for other in names if CANARY.format(other) in seen} == {name}


@pytest.mark.parametrize(("seconds", "asked"), [(5, 1), (60, 2)])
def test_the_key_of_the_first_phase_is_not_checked_again_right_after_the_preflight(
    clinic: Clinic, seconds: int, asked: int
) -> None:
    clinic.provide("anthropic")
    server = clinic.provide("zai")
    preflight = clinic.preflight(PLAN_OPUS_CODE_GLM)
    route = clinic.primary(Phase.CODING)
    preflight.run("never")
    before = len(server.requests)
    clinic.now += timedelta(seconds=seconds)
    preflight.recheck(route)
    preflight.recheck(route)
    assert len(server.requests) - before == asked


def test_the_recheck_before_a_phase_finds_a_revoked_key_without_tokens(clinic: Clinic) -> None:
    clinic.provide("anthropic")
    server = clinic.provide("zai")
    preflight = clinic.preflight(PLAN_OPUS_CODE_GLM)
    route = clinic.primary(Phase.CODING)
    preflight.recheck(route)
    server.keys["zai"] = "another"
    with pytest.raises(Unauthorized, match="Authorization Token Invalid"):
        preflight.recheck(route)
    assert posts(server) == 0


def test_all_errors_are_raised_as_one_with_the_worst_exit_code() -> None:
    rows = [
        CheckResult(id="a", category="tools", status="error", summary="no tools", exit_code=ExitCode.CONFIGURATION),
        CheckResult(
            id="b",
            category="key",
            status="error",
            summary="no key",
            remediation="get one",
            exit_code=ExitCode.CREDENTIALS,
        ),
        CheckResult(id="c", category="key", status="warning", summary="hm"),
    ]
    with pytest.raises(AutorouteError) as caught:
        raise_for_errors(rows)
    assert caught.value.exit_code == ExitCode.CREDENTIALS
    assert caught.value.message == "no tools\nno key"

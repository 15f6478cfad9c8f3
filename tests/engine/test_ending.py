"""The last words of a run: who did what, in the provider's own words, what to do, and the command that continues."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoroute.engine.context import SittingOptions
from autoroute.engine.ending import VERB_PHRASES, make_last_event
from autoroute.engine.policy import Parked
from autoroute.engine.sitting import Sitting
from autoroute.errors import (
    AutorouteError,
    BadReply,
    BadRequest,
    Billing,
    Busy,
    LimitReached,
    NoSuchModel,
    PhaseFailed,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
    WorkspaceError,
    WrongModel,
)
from autoroute.events import PhaseStarted, RunEnded
from autoroute.routing import Phase, PhaseRouting, ProviderProfile, RunConfig
from autoroute.state import RunState
from autoroute.workspace import WorkspaceLost
from tests.engine.doubles import NOW, ROUTE, Providers, TestClock, run_context

RESUME = "autoroute resume r1"
PROFILES = {
    "zai": ProviderProfile(name="zai", title="Z.AI", wire="anthropic-messages", base_url="https://api.z.ai"),
    "claude": ProviderProfile(
        name="claude", title="Claude Code", wire="anthropic-messages", base_url="https://claude.ai", logins=True
    ),
}


def end(error: AutorouteError, options: SittingOptions = SittingOptions()) -> RunEnded:  # noqa: B008 - a frozen value
    config = RunConfig(dict.fromkeys(Phase, PhaseRouting(ROUTE)), PROFILES)
    context = run_context(Providers({}), TestClock(), config, options=options)
    state = RunState.of([PhaseStarted(phase=Phase.CODING, round=1, route=ROUTE)])
    return make_last_event(Sitting(context, state), error, 1.0)


def made(kind: type[ProviderError], message: str, **more: Any) -> ProviderError:
    return kind(message, **{"provider": "zai", "model": "glm-4.7", "account": "default", **more})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            made(Unauthorized, "invalid key", status=401, code="authentication_error"),
            "coding stopped: Z.AI refused the key of account default (glm-4.7, 401 authentication_error: invalid key)",
        ),
        (
            made(Unauthorized, "logged out", provider="claude", model="opus", account="work"),
            "coding stopped: Claude Code refused the login of account work (opus: logged out)",
        ),
        (
            made(Billing, "no balance", status=402),
            "coding stopped: Z.AI declined account default for a billing reason (glm-4.7, 402: no balance)",
        ),
        (
            made(LimitReached, "5 hours", status=429, code="1308", retry_at=NOW + timedelta(hours=3)),
            "coding stopped: Z.AI limits account default until 2026-11-23 03:00 UTC (glm-4.7, 429 1308: 5 hours)",
        ),
        (
            made(LimitReached, "the week is used up"),
            "coding stopped: Z.AI limits account default (glm-4.7: the week is used up)",
        ),
        (
            made(LimitReached, "paid usage is off", by_setting=True),
            "coding stopped: Z.AI may not use account default (glm-4.7: paid usage is off)",
        ),
        (
            made(Busy, "overloaded", status=200, code="overloaded_error"),
            "coding stopped: Z.AI is busy (glm-4.7, account default, overloaded_error: overloaded)",
        ),
        (
            made(Unreachable, "could not connect"),
            "coding stopped: Z.AI does not answer (glm-4.7, account default: could not connect)",
        ),
        (
            made(NoSuchModel, "unknown model", status=404),
            "coding stopped: Z.AI does not offer glm-4.7 to account default (404: unknown model)",
        ),
        (
            made(TooLong, "prompt is too long", status=400),
            (
                "coding stopped: Z.AI rejected a conversation that is too long "
                "(glm-4.7, account default, 400: prompt is too long)"
            ),
        ),
        (
            made(BadRequest, "the model refused to answer"),
            "coding stopped: Z.AI rejected a request (glm-4.7, account default: the model refused to answer)",
        ),
        (
            made(BadReply, "no content", provider="elsewhere"),
            "coding stopped: elsewhere sent an invalid reply (glm-4.7, account default: no content)",
        ),
        (
            made(WrongModel, "glm-4.5 answered a request for glm-4.7"),
            (
                "coding stopped: Z.AI answered with another model "
                "(glm-4.7, account default: glm-4.5 answered a request for glm-4.7)"
            ),
        ),
        (PhaseFailed("subtask S1 is stuck"), "coding stopped: subtask S1 is stuck"),
        (WorkspaceError("the disk is full"), "the disk is full"),
    ],
)
def test_the_message_says_alone_what_happened(error: AutorouteError, message: str) -> None:
    assert end(error).message == message


def test_every_class_of_provider_error_has_a_phrase() -> None:
    assert set(VERB_PHRASES) == {*ProviderError.__subclasses__(), WrongModel}


def test_hint_and_command_are_apart() -> None:
    last = end(made(Unauthorized, "invalid key", hint="check ZAI_API_KEY"))
    assert (last.hint, last.resume) == ("check ZAI_API_KEY", RESUME)
    assert end(made(Unreachable, "no connection")).hint == ""


def test_the_hint_of_a_limit_says_when_to_resume_and_how_to_continue_now() -> None:
    last = end(made(LimitReached, "5 hours", retry_at=NOW + timedelta(hours=3)))
    assert last.hint == "resume after 2026-11-23 03:00 UTC, or now with --code ROUTE or a longer --max-wait"
    assert (last.outcome, last.exit_code, last.resume) == ("limited", 75, RESUME)


def test_the_command_asks_again_for_what_this_sitting_did_not_reach() -> None:
    error = PhaseFailed("stuck", hint=f"try another model: {RESUME} --code ROUTE")
    last = end(error, SittingOptions(until=Phase.QA))
    assert last.resume == f"{RESUME} --until qa"
    assert last.hint == f"try another model: {RESUME} --until qa --code ROUTE"


def test_a_run_that_has_lost_its_workspace_cannot_be_resumed() -> None:
    last = end(WorkspaceLost("the workspace is gone", hint="autoroute run TASK"))
    assert (last.hint, last.resume) == ("autoroute run TASK", "")


def test_a_parked_run_ends_as_limited_with_the_error_that_it_waits_for() -> None:
    until = NOW + timedelta(hours=2)
    error = made(Unreachable, "no connection")
    last = end(Parked(error, until))
    assert last == replace(
        last,
        outcome="limited",
        exit_code=75,
        message="coding parked until 2026-11-23 02:00 UTC: "
        "Z.AI does not answer (glm-4.7, account default: no connection)",
        hint="resume the run after 2026-11-23 02:00 UTC",
        resume=RESUME,
        error="Unreachable",
        provider="zai",
        model="glm-4.7",
        account="default",
        retry_at=until,
    )

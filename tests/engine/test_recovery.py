"""The ways out of what stops a phase: which there are, which is taken with nobody asked, and that they end."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from autoroute.engine.policy import Approval, Decision, Question
from autoroute.engine.recovery import Recovery
from autoroute.errors import (
    BadReply,
    BadRequest,
    Billing,
    Busy,
    LimitReached,
    NoSuchModel,
    ProviderError,
    TooLong,
    Unauthorized,
    Unreachable,
    WrongModel,
)
from autoroute.events import (
    ArtifactAccepted,
    Event,
    GateReached,
    Option,
    PhaseStarted,
    RecoveryDecided,
    RecoveryNeeded,
    SubtaskEnded,
)
from autoroute.routing import OnLimit, Phase, PhaseRouting, RecoverySettings, Route
from autoroute.state import RunState
from tests.engine.doubles import NOW, Providers, TestClock, recovery

OPUS = Route(provider="anthropic", model="opus", requested="opus", context=200_000)
GLM = Route(provider="zai", model="glm", requested="glm", context=200_000)
GPT = Route(provider="openai", model="gpt", requested="gpt", context=900_000)
ALL = PhaseRouting(OPUS, (GLM, GPT))
PLAN = {
    "summary": "Three steps.",
    "subtasks": [
        {"id": id, "title": id, "description": id, "files": [], "depends_on": [], "acceptance": []}
        for id in ("S1", "S2", "S3")
    ],
    "verify": ["make"],
}
TWO_OF_THREE_LEFT = RunState.of(
    [
        ArtifactAccepted(phase=Phase.PLANNING, round=1, artifact="plan", content=PLAN),
        PhaseStarted(phase=Phase.CODING, round=1, route=OPUS),
        SubtaskEnded(subtask="S1", passed=True, commit=""),
    ]
)
TWO_ACCOUNTS = {"anthropic": ("default", "home")}


def window(hours: float, route: Route = OPUS) -> LimitReached:
    at = NOW + timedelta(hours=hours)
    return LimitReached("You've hit your limit", provider=route.provider, limit="five_hour", retry_at=at)


def finish(events: Generator[Event, None, Route]) -> tuple[list[Event], Route]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return seen, stop.value


def ways(
    providers: Providers | None = None,
    routing: PhaseRouting = ALL,
    phase: Phase = Phase.CODING,
    decider: Any = None,
    **settings: Any,
) -> Recovery:
    clock = TestClock()
    return recovery(
        providers or Providers({}), clock, phase, routing, RecoverySettings(**settings), decider, TWO_OF_THREE_LEFT
    )


def clock_of(made: Recovery) -> TestClock:
    clock = made.sitting.context.clock
    assert isinstance(clock, TestClock)
    return clock


def meet(made: Recovery, error: ProviderError, route: Route = OPUS) -> tuple[RecoveryNeeded, RecoveryDecided, Route]:
    (blocked, decided), chosen = finish(made.recover(route, 7, error, 50_000))
    assert isinstance(blocked, RecoveryNeeded)
    assert isinstance(decided, RecoveryDecided)
    return blocked, decided, chosen


def until_it_stops(made: Recovery, error: ProviderError) -> list[Route]:
    """Who went on, one after the other, while each of them met the same."""
    routes: list[Route] = []
    with suppress(type(error)):
        while len(routes) < 100:
            routes.append(finish(made.recover(routes[-1] if routes else OPUS, 1, error, 0))[1])
    return routes


def offered(blocked: RecoveryNeeded) -> list[tuple[str, str]]:
    return [
        (option.action, f"{option.route.name}:{option.route.account}" if option.route else "")
        for option in blocked.options
    ]


ELSEWHERE = [("fallback", "zai/glm:default"), ("fallback", "openai/gpt:default")]
SWITCH = ("switch", "anthropic/opus:home")
WAIT = ("wait", "anthropic/opus:default")
STOP = ("stop", "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Busy("slow"), [SWITCH, *ELSEWHERE, WAIT, STOP]),
        (Busy("slow", retry_at=NOW + timedelta(seconds=60)), [WAIT, SWITCH, *ELSEWHERE, STOP]),
        (window(3), [SWITCH, *ELSEWHERE, WAIT, STOP]),
        (LimitReached("no reset is known"), [SWITCH, *ELSEWHERE, STOP]),
        (Unreachable("no connection"), [*ELSEWHERE, WAIT, STOP]),
        (Unauthorized("bad key"), [SWITCH, *ELSEWHERE, STOP]),
        (Billing("no balance"), [SWITCH, *ELSEWHERE, STOP]),
        (NoSuchModel("unknown"), [SWITCH, *ELSEWHERE, STOP]),
        (TooLong("overflow"), [("fallback", "openai/gpt:default"), STOP]),
        (BadRequest("refused"), [*ELSEWHERE, STOP]),
        (BadReply("garbage"), [*ELSEWHERE, STOP]),
        (WrongModel("another"), [*ELSEWHERE, STOP]),
    ],
)
def test_each_error_has_the_ways_out_that_can_help(error: ProviderError, expected: list[tuple[str, str]]) -> None:
    blocked, _, _ = meet(ways(Providers({}, others=TWO_ACCOUNTS), max_wait=7 * 3600), error)
    assert offered(blocked) == expected


def test_every_class_of_error_is_in_that_table() -> None:
    parameters: Any = test_each_error_has_the_ways_out_that_can_help
    (mark,) = parameters.pytestmark
    met = {type(case[0]) for case in mark.args[1]}
    assert met == {*ProviderError.__subclasses__(), WrongModel}


@pytest.mark.parametrize(
    ("on_limit", "hours", "action", "to"),
    [
        ("ask", 3.0, "switch", "anthropic/opus"),
        ("ask", 0.02, "wait", "anthropic/opus"),
        ("wait", 3.0, "wait", "anthropic/opus"),
        ("wait", 30.0, "switch", "anthropic/opus"),
        ("switch", 3.0, "switch", "anthropic/opus"),
        ("fallback", 3.0, "fallback", "zai/glm"),
    ],
)
def test_on_limit_says_what_is_tried_first(on_limit: OnLimit, hours: float, action: str, to: str) -> None:
    made = ways(Providers({}, others=TWO_ACCOUNTS), on_limit=on_limit, max_wait=4 * 3600)
    _, decided, chosen = meet(made, window(hours))
    assert (decided.action, chosen.name, decided.by) == (action, to, "policy")


def test_stop_stops_and_raises_what_was_met() -> None:
    error = window(3)
    events = ways(on_limit="stop").recover(OPUS, 7, error, 0)
    seen = [next(events), next(events)]
    with pytest.raises(LimitReached) as caught:
        next(events)
    assert caught.value is error
    assert isinstance(seen[1], RecoveryDecided)
    assert (seen[1].action, seen[1].to) == ("stop", None)


def test_an_account_problem_is_no_limit_so_on_limit_does_not_keep_it_from_the_listed_routes() -> None:
    _, decided, chosen = meet(ways(on_limit="stop"), Unauthorized("bad key"))
    assert (decided.action, chosen) == ("fallback", GLM)


def test_nothing_is_substituted_that_was_not_listed() -> None:
    made = ways(routing=PhaseRouting(OPUS), max_wait=60)
    with pytest.raises(LimitReached):
        finish(made.recover(OPUS, 1, window(3), 0))


def test_a_wait_is_as_long_as_the_limit_and_a_little() -> None:
    made = ways(routing=PhaseRouting(OPUS))
    _, decided, chosen = meet(made, window(1))
    assert (decided.wait, chosen) == (3601.0, OPUS)
    assert made.sitting.wait_budget.left == 7200 - 3601


def test_all_waits_of_a_run_together_are_bounded() -> None:
    made = ways(routing=PhaseRouting(OPUS), max_wait=3 * 3600)
    meet(made, window(1))
    meet(made, window(2))
    with pytest.raises(LimitReached):
        finish(made.recover(OPUS, 1, window(4), 0))
    assert sum(clock_of(made).slept) <= 3 * 3600


def test_a_reset_that_is_always_past_does_not_make_a_busy_loop() -> None:
    made = ways(routing=PhaseRouting(OPUS), max_wait=600)
    assert len(until_it_stops(made, window(-1))) < 10


@pytest.mark.parametrize("error", [Busy("slow"), Unreachable("down"), BadReply("garbage"), Unauthorized("bad")])
def test_routes_that_fail_in_turn_come_to_an_end(error: ProviderError) -> None:
    made = ways(on_limit="fallback", max_wait=0)
    assert until_it_stops(made, error) == [GLM, GPT]


def test_the_phase_waits_for_whichever_of_its_routes_resets_first() -> None:
    made = ways(routing=PhaseRouting(OPUS, (GLM,)), max_wait=4 * 3600)
    _, _, glm = meet(made, window(1))
    assert glm == GLM
    blocked, decided, chosen = meet(made, window(3, GLM), GLM)
    assert (decided.action, chosen) == ("wait", OPUS)
    assert ("wait", "anthropic/opus:default") in offered(blocked)


def test_the_primary_is_a_way_out_again_once_its_limit_has_passed() -> None:
    made = ways(routing=PhaseRouting(OPUS, (GLM,)), on_limit="fallback")
    meet(made, window(1))
    clock_of(made).sleep(2 * 3600)
    made.sitting.context.providers.cooldowns.clear(OPUS)
    _, _, chosen = meet(made, BadReply("garbage"), GLM)
    assert chosen == OPUS


def test_a_route_that_is_known_to_be_limited_is_not_offered() -> None:
    providers = Providers({}, others=TWO_ACCOUNTS)
    providers.cooldowns.record(GLM, window(5, GLM))
    blocked, _, _ = meet(ways(providers), Unauthorized("bad key"))
    assert ("fallback", "zai/glm:default") not in offered(blocked)


def test_a_fallback_on_another_account_where_its_first_is_limited() -> None:
    providers = Providers({}, others={"zai": ("default", "work")})
    providers.cooldowns.record(GLM, window(5, GLM))
    _, _, chosen = meet(ways(providers), BadReply("garbage"))
    assert (chosen.name, chosen.account) == ("zai/glm", "work")


def test_a_fallback_whose_key_holds_no_more_is_passed_over_with_its_own_words() -> None:
    providers = Providers({}, refused={"zai:default": Unauthorized("zai says no", provider="zai")})
    events, chosen = finish(ways(providers).recover(OPUS, 7, BadReply("garbage"), 0))
    assert chosen == GPT
    assert [event.message for event in events if isinstance(event, RecoveryNeeded)] == ["garbage", "zai says no"]


def test_a_phase_that_needs_tools_never_falls_back_to_a_model_without() -> None:
    mute = Route(provider="old", model="words", requested="words", tools=False)
    routing = PhaseRouting(OPUS, (mute, GLM))
    assert meet(ways(routing=routing), BadReply("x"))[2] == GLM
    assert meet(ways(routing=routing, phase=Phase.PLANNING), BadReply("x"))[2] == mute


def test_pay_per_use_never_replaces_a_flat_fee_unasked() -> None:
    providers = Providers({}, flat=("anthropic",))
    routing = PhaseRouting(OPUS, (GLM,))
    with pytest.raises(Billing):
        finish(ways(providers, routing).recover(OPUS, 1, Billing("plan is over"), 0))
    assert meet(ways(providers, routing, allow_paid=True), Billing("plan is over"))[2] == GLM


def test_options_say_what_they_cost_and_what_is_left() -> None:
    blocked, _, _ = meet(ways(Providers({}, others=TWO_ACCOUNTS), on_limit="fallback"), window(3))
    notes = {option.action: option.note for option in blocked.options}
    assert (
        notes["fallback"] == "$1 in, $1 out per million tokens; reads 50.0k tokens again, $0.05; 2 of 3 subtasks left"
    )
    assert notes["switch"].startswith("account home: the prompt cache is not shared; reads 50.0k tokens again")
    assert "its prompt cache expired by then" in notes["wait"]
    assert "autoroute resume r1" in notes["stop"]
    waiting = next(option for option in blocked.options if option.action == "wait")
    assert waiting.refused == "longer than the 7200 s that are left of max_wait"


def test_a_phase_whose_primary_is_known_to_be_limited_begins_elsewhere_without_a_request() -> None:
    providers = Providers({})
    providers.cooldowns.record(OPUS, window(3))
    events, chosen = finish(ways(providers).choose_first(OPUS))
    assert chosen == GLM
    assert isinstance(events[0], RecoveryNeeded)
    assert (events[0].turn, events[0].message) == (0, "You've hit your limit")


def test_a_phase_begins_on_its_primary_when_nothing_speaks_against_it() -> None:
    assert finish(ways().choose_first(OPUS)) == ([], OPUS)


@dataclass
class Person:
    """Chooses by action, one after the other; ``rests`` says whether each wait is sat through."""

    choices: list[str]
    rests: list[bool] = field(default_factory=list)
    asked: list[RecoveryNeeded] = field(default_factory=list)

    def answer(self, question: Question) -> str:
        raise AssertionError(question)

    def recover(self, blocked: RecoveryNeeded) -> Decision:
        self.asked.append(blocked)
        wanted = self.choices.pop(0)
        return Decision(next(option for option in blocked.options if option.action == wanted), "person")

    def rest(self, blocked: RecoveryNeeded, option: Option) -> bool:
        return self.rests.pop(0)

    def approve(self, gate: GateReached, complaints: Sequence[str]) -> Approval:
        raise AssertionError(gate)


def test_a_person_may_choose_what_the_policy_may_not() -> None:
    providers = Providers({}, flat=("anthropic",))
    person = Person(["fallback"])
    _, decided, chosen = meet(ways(providers, PhaseRouting(OPUS, (GLM,)), decider=person), window(3))
    assert (chosen, decided.by) == (GLM, "person")


def test_a_person_who_breaks_off_a_wait_is_asked_again_also_when_the_policy_chose_it() -> None:
    person = Person(["fallback"], rests=[False])
    events, chosen = finish(ways(decider=person, on_limit="wait", max_wait=4 * 3600).recover(OPUS, 1, window(3), 0))
    decided = [(event.action, event.by) for event in events if isinstance(event, RecoveryDecided)]
    assert decided == [("wait", "policy"), ("fallback", "person")]
    assert chosen == GLM


LOGINS: Any = {"anthropic": "person"}
AUTO: Any = {"anthropic": "always"}


@pytest.mark.parametrize("on_limit", ["ask", "switch", "fallback", "wait"])
def test_another_login_goes_on_only_where_somebody_says_so(on_limit: OnLimit) -> None:
    providers = Providers({}, others=TWO_ACCOUNTS, logins=LOGINS)
    blocked, decided, _ = meet(ways(providers, on_limit=on_limit), window(3))
    (switch,) = [option for option in blocked.options if option.action == "switch"]
    assert "auto_switch" in switch.refused
    assert decided.action == "fallback"


def test_at_the_panel_another_login_is_offered() -> None:
    person = Person(["switch"])
    providers = Providers({}, others=TWO_ACCOUNTS, logins=LOGINS)
    _, decided, chosen = meet(ways(providers, decider=person), window(3))
    assert (decided.by, chosen.account) == ("person", "home")


NEARLY = LimitReached("96 % is used", limit="five_hour", by_setting=True, account_usable=True)


def test_a_login_that_was_left_before_its_end_goes_on_when_the_others_fail() -> None:
    home = replace(OPUS, account="home")
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO)
    made = ways(providers, PhaseRouting(OPUS))
    _, _, chosen = meet(made, NEARLY)
    assert chosen == home
    _, decided, chosen = meet(made, Unauthorized("the other one has ended"), home)
    assert (decided.action, chosen) == ("switch", OPUS)


def test_a_login_that_would_cost_extra_is_not_come_back_to() -> None:
    home = replace(OPUS, account="home")
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO)
    made = ways(providers, PhaseRouting(OPUS))
    meet(made, LimitReached("paid extra", limit="plan", by_setting=True, retry_at=NOW + timedelta(hours=3)))
    with pytest.raises(Unauthorized):
        finish(made.recover(home, 1, Unauthorized("ended"), 0))


def test_a_login_is_not_left_before_its_end_for_nobody() -> None:
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO)
    providers.cooldowns.record(replace(OPUS, account="home"), window(5))
    events, chosen = finish(ways(providers, decider=Person([])).recover(OPUS, 1, NEARLY, 0))
    assert (events, chosen) == ([], OPUS)


def test_two_logins_near_their_ends_are_each_left_once() -> None:
    home = replace(OPUS, account="home")
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO, refused={"anthropic:home": NEARLY})
    made = ways(providers, PhaseRouting(OPUS), decider=Person([]), max_wait=0)
    _, chosen = finish(made.recover(OPUS, 1, NEARLY, 0))
    assert chosen == OPUS, "the other one is near its end too, so it is come back to"
    providers.refused["anthropic:default"] = NEARLY
    _, chosen = finish(made.recover(home, 1, window(3, home), 0))
    assert chosen == OPUS, "and not left again"


def test_an_agreement_is_about_one_limit() -> None:
    person = Person(["switch", "stop"])
    providers = Providers({}, others=TWO_ACCOUNTS, logins=LOGINS)
    made = ways(providers, PhaseRouting(OPUS), decider=person, max_wait=0)
    meet(made, window(3))
    with pytest.raises(LimitReached):
        finish(made.recover(OPUS, 1, window(5), 0))
    assert len(person.asked) == 2


def test_what_a_person_agreed_to_is_not_asked_again_in_the_next_phase() -> None:
    person = Person(["switch"])
    providers = Providers({}, others=TWO_ACCOUNTS, logins=LOGINS)
    made = ways(providers, decider=person)
    meet(made, window(3))
    after = ways(providers, decider=person, phase=Phase.QA)
    after.sitting.agreed_switches = made.sitting.agreed_switches
    events, chosen = finish(after.choose_first(OPUS))
    assert chosen.account == "home"
    assert [event.by for event in events if isinstance(event, RecoveryDecided)] == ["person"]
    assert len(person.asked) == 1


def test_where_it_was_agreed_to_another_login_goes_on_and_nobody_is_asked() -> None:
    person = Person([])
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO)
    _, decided, chosen = meet(ways(providers, decider=person), window(3))
    assert (decided.by, chosen.account, person.asked) == ("policy", "home", [])


def test_a_login_that_resets_in_a_moment_is_waited_for_and_that_is_asked_about() -> None:
    person = Person(["wait"], rests=[True])
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO)
    _, decided, chosen = meet(ways(providers, decider=person), window(0.02))
    assert (decided.action, decided.by, chosen.account) == ("wait", "person", "default")


def test_when_all_logins_are_spent_somebody_is_asked() -> None:
    person = Person(["fallback"])
    providers = Providers({}, others=TWO_ACCOUNTS, logins=AUTO)
    providers.cooldowns.record(replace(OPUS, account="home"), window(5))
    _, decided, chosen = meet(ways(providers, decider=person), window(3))
    assert (decided.by, chosen) == ("person", GLM)


def test_a_login_that_pays_for_each_token_is_no_way_out_of_a_plan() -> None:
    class Mixed(Providers):
        def billing(self, route: Route) -> Any:
            return "usage" if route.account == "home" else "plan"

    providers = Mixed({}, others=TWO_ACCOUNTS, logins=AUTO)
    blocked, decided = finish_stop(ways(providers, PhaseRouting(OPUS), max_wait=0))
    (switch,) = [option for option in blocked.options if option.action == "switch"]
    assert "allow_paid" in switch.refused
    assert decided.action == "stop"
    _, decided, chosen = meet(ways(providers, PhaseRouting(OPUS), allow_paid=True), window(3))
    assert (decided.action, chosen.account) == ("switch", "home")


def finish_stop(made: Recovery) -> tuple[RecoveryNeeded, RecoveryDecided]:
    """What was offered and decided where the way out is to stop."""
    seen: list[Event] = []
    with pytest.raises(LimitReached):
        seen.extend(made.recover(OPUS, 1, window(3), 0))
    blocked, decided = seen
    assert isinstance(blocked, RecoveryNeeded)
    assert isinstance(decided, RecoveryDecided)
    return blocked, decided


def test_a_fallback_on_logins_begins_on_its_first_one_or_not_at_all() -> None:
    claude = replace(OPUS, model="sonnet")
    providers = Providers({}, others=TWO_ACCOUNTS, logins=LOGINS)
    providers.cooldowns.record(claude, window(5))
    blocked, _ = finish_stop(ways(providers, PhaseRouting(OPUS, (claude,)), max_wait=0))
    assert [option for option in blocked.options if option.action == "fallback"] == []


def test_limits_are_remembered_for_other_runs_and_forgotten_once_it_answers() -> None:
    providers = Providers({})
    made = ways(providers, routing=PhaseRouting(OPUS))
    meet(made, window(1))
    assert [str(error) for error in providers.cooldowns.kept] == ["You've hit your limit"]
    made.note_success(OPUS)
    assert providers.cooldowns.active_limit(OPUS) is None


def test_routes_that_take_long_to_fail_are_not_asked_in_turn_for_ever() -> None:
    """Each is out for less time than the other takes to say nothing."""
    made = ways(routing=PhaseRouting(OPUS, (GLM,)), on_limit="fallback", max_wait=2 * 3600)
    routes: list[Route] = []
    with suppress(Unreachable):
        while len(routes) < 100:
            clock_of(made).sleep(1_200)
            routes.append(finish(made.recover(routes[-1] if routes else OPUS, 1, Unreachable("silent"), 0))[1])
    assert 2 <= len(routes) < 12


@pytest.mark.parametrize(
    ("on_limit", "action"), [("ask", "wait"), ("wait", "wait"), ("fallback", "stop"), ("switch", "stop")]
)
def test_a_fallback_that_fails_for_good_leaves_the_wait_for_the_primary(on_limit: OnLimit, action: str) -> None:
    made = ways(routing=PhaseRouting(OPUS, (GLM,)), on_limit=on_limit, max_wait=3600)
    assert meet(made, window(2))[2] == GLM
    made.sitting.wait_budget.left = 3 * 3600
    events = made.recover(GLM, 2, Billing("no balance"), 0)
    blocked, decided = next(events), next(events)
    assert isinstance(blocked, RecoveryNeeded)
    assert isinstance(decided, RecoveryDecided)
    assert WAIT in offered(blocked)
    assert decided.action == action


def test_time_in_which_a_fallback_works_is_no_waiting() -> None:
    made = ways(routing=PhaseRouting(OPUS, (GLM,)), on_limit="fallback", max_wait=3600)
    meet(made, window(0.5))
    clock_of(made).sleep(5 * 3600)
    made.sitting.context.providers.cooldowns.clear(OPUS)
    made.note_success(GLM)
    _, _, chosen = meet(made, window(8, GLM), GLM)
    assert chosen == OPUS
    assert made.sitting.wait_budget.left == 3600

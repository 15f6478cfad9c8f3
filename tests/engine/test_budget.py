"""What may be spent is checked with the worst that the next request can cost; what was spent is warned of once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from autoroute.engine.budget import BudgetTracker, Cost, estimate_prompt
from autoroute.errors import BudgetReached
from autoroute.events import TurnEnded
from autoroute.messages import Message, Reply, Request, Stop, Text, Usage
from autoroute.routing import Budget, Phase
from autoroute.state import UsageByRoute
from tests.engine.doubles import ROUTE


def request(words: str = "x" * 300, max_tokens: int = 100) -> Request:
    return Request(model="m", system="", messages=(Message("user", (Text(words),)),), max_tokens=max_tokens)


def a_cent(_route: object, usage: Usage) -> float:
    return usage.total / 100


def tracker(cost: Cost, budgets: Mapping[str, Budget]) -> BudgetTracker:
    return BudgetTracker(cost, budgets, UsageByRoute())


def book(budget: BudgetTracker, phase: Phase, usage: Usage) -> list[str]:
    """Book a turn as the fold does; return the warnings that are due then."""
    cost = budget.cost(ROUTE, usage)
    answer = Reply(Message("assistant", (Text("done"),)), Stop.END, "m", usage)
    budget.usage.apply(TurnEnded(phase=phase, turn=1, route=ROUTE, reply=answer, seconds=0.0, cost=cost))
    return budget.warnings(phase, usage, cost)


def test_a_request_that_could_break_a_budget_is_not_sent() -> None:
    budget = tracker(a_cent, {"run": Budget(usd=2.5)})
    budget.check(Phase.CODING, ROUTE, request(), known_tokens=0)
    book(budget, Phase.CODING, Usage(input=60))
    with pytest.raises(
        BudgetReached, match=r"budget of this run is reached: \$0\.60 of \$2\.50 is spent, and .* \$2\.01"
    ):
        budget.check(Phase.CODING, ROUTE, request(), known_tokens=0)
    assert estimate_prompt(request()) == 101


def test_what_the_provider_counted_takes_the_place_of_the_estimate() -> None:
    budget = tracker(a_cent, {"run": Budget(tokens=150)})
    with pytest.raises(BudgetReached):
        budget.check(Phase.CODING, ROUTE, request(), known_tokens=0)
    budget.check(Phase.CODING, ROUTE, request(), known_tokens=50)


def test_a_phases_budget_is_its_own() -> None:
    budget = tracker(a_cent, {"coding": Budget(tokens=300)})
    book(budget, Phase.QA, Usage(input=10_000))
    budget.check(Phase.QA, ROUTE, request(), known_tokens=0)
    budget.check(Phase.CODING, ROUTE, request(), known_tokens=0)
    book(budget, Phase.CODING, Usage(input=200))
    with pytest.raises(BudgetReached) as caught:
        budget.check(Phase.CODING, ROUTE, request(), known_tokens=0)
    assert caught.value.hint == "raise it: --budget coding=USD"
    assert caught.value.exit_code == 12


def test_a_warning_comes_once_at_eighty_percent() -> None:
    budget = tracker(a_cent, {"run": Budget(usd=1.0)})
    assert [book(budget, Phase.SPEC, Usage(input=tokens)) for tokens in (79, 1, 5)] == [
        [],
        ["80% of the budget of this run is spent"],
        [],
    ]


def test_no_price_is_no_cost_and_no_bound() -> None:
    budget = tracker(lambda _route, _usage: None, {"run": Budget(tokens=10_000)})
    budget.check(Phase.SPEC, ROUTE, request(), known_tokens=0)
    assert book(budget, Phase.SPEC, Usage(input=5)) == []

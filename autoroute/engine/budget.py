"""What a run has spent, and what it may: checked before each request with the worst that the request can cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoroute.errors import BudgetReached
from autoroute.messages import CHARACTERS_PER_TOKEN, Request, Usage
from autoroute.routing import Budget, Phase, Route

WARN_AT = 0.8

Cost = Callable[[Route, Usage], float | None]
"""USD for tokens on a route; None when its price is not known."""


@dataclass(slots=True)
class _Spent:
    usd: float = 0.0
    tokens: int = 0
    warned: bool = False


@dataclass(slots=True)
class BudgetTracker:
    """Adds up usage. ``budgets`` has the run's under "run" and those of phases under their names."""

    cost: Cost
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    _spent: dict[str, _Spent] = field(default_factory=dict)

    def check(self, phase: Phase, route: Route, request: Request, known: int) -> None:
        """Raise ``BudgetReached`` when this request could go over a budget.

        ``known`` are the tokens of the conversation as the last reply counted them, 0 before the first.
        """
        prompt = known or estimate(request)
        worst = Usage(input=prompt, output=request.max_tokens)
        usd = self.cost(route, worst) if self.budgets else None
        for name in ("run", phase.value):
            budget, spent = self.budgets.get(name, Budget()), self._spent.setdefault(name, _Spent())
            if budget.usd is not None and spent.usd + (usd or 0.0) > budget.usd:
                raise self._reached(name, f"${spent.usd:.2f} of ${budget.usd:.2f}", f"up to ${usd or 0.0:.2f}")
            if budget.tokens is not None and spent.tokens + worst.total > budget.tokens:
                raise self._reached(name, f"{spent.tokens} of {budget.tokens} tokens", f"up to {worst.total} tokens")

    def book(self, phase: Phase, route: Route, usage: Usage) -> tuple[float | None, list[str]]:
        """Count a turn; its cost, and the warnings that are due now."""
        usd = self.cost(route, usage)
        warnings = []
        for name in ("run", phase.value):
            spent, budget = self._spent.setdefault(name, _Spent()), self.budgets.get(name, Budget())
            spent.usd += usd or 0.0
            spent.tokens += usage.total
            if not spent.warned and (share := _share(spent, budget)) >= WARN_AT:
                spent.warned = True
                warnings.append(f"{share:.0%} of the budget of {_title(name)} is spent")
        return usd, warnings

    def _reached(self, name: str, spent: str, worst: str) -> BudgetReached:
        return BudgetReached(
            f"the budget of {_title(name)} is reached: {spent} is spent, and the next request could take {worst}",
            hint=f"raise it: --budget {'' if name == 'run' else f'{name}='}USD",
        )


def estimate(request: Request) -> int:
    """Tokens of a prompt, rather too many."""
    characters = len(request.system) + sum(len(tool.description) + len(tool.parameters) for tool in request.tools)
    return (characters + sum(message.size for message in request.messages)) // CHARACTERS_PER_TOKEN + 1


def _share(spent: _Spent, budget: Budget) -> float:
    shares = [spent.usd / budget.usd if budget.usd else 0.0, spent.tokens / budget.tokens if budget.tokens else 0.0]
    return max(shares)


def _title(name: str) -> str:
    return "this run" if name == "run" else name

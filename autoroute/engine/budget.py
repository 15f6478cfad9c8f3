"""What a run may spend: checked before each request with the worst that the request can cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from autoroute.errors import BudgetReached
from autoroute.messages import CHARACTERS_PER_TOKEN, Request, Usage
from autoroute.routing import Budget, Phase, Route
from autoroute.state import UsageByRoute

WARN_AT_SHARE = 0.8
"""The share of a budget from which the user is warned, once."""

Cost = Callable[[Route, Usage], float | None]
"""USD for tokens on a route; None when its price is not known."""


@dataclass(frozen=True, slots=True)
class BudgetTracker:
    """Compares usage with budgets. ``budgets`` has the run's under "run" and those of phases under their names."""

    cost: Cost
    budgets: Mapping[str, Budget]
    usage: UsageByRoute

    def check(self, phase: Phase, route: Route, request: Request, known_tokens: int) -> None:
        """Raise ``BudgetReached`` when this request could exceed a budget.

        ``known_tokens`` are those of the conversation as the provider last counted them, 0 before the first reply.
        """
        worst = Usage(input=known_tokens or estimate_prompt(request), output=request.max_tokens)
        usd = (self.cost(route, worst) if self.budgets else None) or 0.0
        for name, only in self._scopes(phase):
            budget, spent, tokens = self.budgets[name], self.usage.known_cost(only), self.usage.tokens(only).total
            if budget.usd is not None and spent + usd > budget.usd:
                raise _reached(name, f"${spent:.2f} of ${budget.usd:.2f}", f"up to ${usd:.2f}")
            if budget.tokens is not None and tokens + worst.total > budget.tokens:
                raise _reached(name, f"{tokens} of {budget.tokens} tokens", f"up to {worst.total} tokens")

    def warnings(self, phase: Phase, usage: Usage, usd: float | None) -> list[str]:
        """Return a warning for each budget of which the turn that was just booked spent the last free share."""
        crossed = []
        for name, only in self._scopes(phase):
            budget, spent, tokens = self.budgets[name], self.usage.known_cost(only), self.usage.tokens(only).total
            share = _share(budget, spent, tokens)
            if _share(budget, spent - (usd or 0.0), tokens - usage.total) < WARN_AT_SHARE <= share:
                crossed.append(f"{share:.0%} of the budget of {_title(name)} is spent")
        return crossed

    def _scopes(self, phase: Phase) -> Iterator[tuple[str, Phase | None]]:
        """Yield the budgets that a turn of this phase counts against, and the phase they are limited to."""
        scopes: tuple[tuple[str, Phase | None], ...] = (("run", None), (phase.value, phase))
        yield from ((name, only) for name, only in scopes if name in self.budgets)


def estimate_prompt(request: Request) -> int:
    """Return the tokens of a prompt, rather too many than too few."""
    characters = len(request.system) + sum(len(tool.description) + len(tool.parameters) for tool in request.tools)
    return (characters + sum(message.size for message in request.messages)) // CHARACTERS_PER_TOKEN + 1


def _reached(name: str, spent: str, worst: str) -> BudgetReached:
    return BudgetReached(
        f"the budget of {_title(name)} is reached: {spent} is spent, and the next request could take {worst}",
        hint=f"raise it: --budget {'' if name == 'run' else f'{name}='}USD",
    )


def _share(budget: Budget, usd: float, tokens: int) -> float:
    return max(usd / budget.usd if budget.usd else 0.0, tokens / budget.tokens if budget.tokens else 0.0)


def _title(name: str) -> str:
    return "this run" if name == "run" else name

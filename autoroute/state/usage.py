"""What each route was asked and answered in each phase, in tokens, USD and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoroute.events import (
    ConversationCompacted,
    Event,
    PhaseEnded,
    PhaseStarted,
    RecoveryDecided,
    ToolEnded,
    TurnEnded,
    TurnFailed,
    TurnStarted,
)
from autoroute.messages import Usage
from autoroute.routing import Phase, Route


@dataclass(slots=True)
class UsageRow:
    """The work of one route in one phase. ``seconds`` is the wall time of the phase, booked on the route that ended it.

    ``usd`` adds up the turns whose price is known; ``unpriced_turns`` counts the others.
    """

    served_models: list[str] = field(default_factory=list)
    """Every model name that replies carried, in order of first use."""
    requests: int = 0
    """Requests sent, retries included."""
    turns: int = 0
    """Requests answered."""
    retries: int = 0
    """Failed requests that were sent again."""
    tool_calls: int = 0
    compactions: int = 0
    tokens: Usage = field(default_factory=Usage)
    usd: float = 0.0
    unpriced_turns: int = 0
    seconds: float = 0.0

    @property
    def cost(self) -> float | None:
        """USD for all turns; None when the price of one is not known."""
        return None if self.unpriced_turns else self.usd


@dataclass(slots=True)
class UsageByRoute:
    """A row for each phase and route, in order of use, and who serves a phase."""

    rows: dict[tuple[Phase, Route], UsageRow] = field(default_factory=dict)
    current: UsageRow | None = None
    """The row that tool calls, compactions and the end of the phase are booked on."""
    primary: dict[Phase, Route] = field(default_factory=dict)
    """The route that each phase last began on."""
    serving: dict[Phase, Route] = field(default_factory=dict)
    """The route that serves each phase now, or served it last."""
    last_turn: int = 0
    """The number of the last turn that was started; turns count through the whole run."""

    def apply(self, event: Event) -> None:
        """Book an event."""
        match event:
            case PhaseStarted():
                self.current = self._row(event.phase, event.route)
                self.primary[event.phase] = self.serving[event.phase] = event.route
            case TurnStarted():
                self.current = self._row(event.phase, event.route)
                self.current.requests += 1
                self.serving[event.phase] = event.route
                self.last_turn = max(self.last_turn, event.turn)
            case TurnFailed():
                self._row(event.phase, event.route).retries += event.retry_in is not None
            case TurnEnded():
                self._book(self._row(event.phase, event.route), event)
            case RecoveryDecided(to=Route() as route, action="switch" | "fallback"):
                self.serving[event.phase] = route
            case ConversationCompacted() if self.current:
                self.current.compactions += 1
            case ToolEnded() if self.current:
                self.current.tool_calls += 1
            case PhaseEnded() if self.current:
                self.current.seconds += event.seconds

    def cost(self, phase: Phase | None = None) -> float | None:
        """Return USD for all turns (of a phase); None when the price of one is not known."""
        rows = self._of(phase)
        return None if any(row.unpriced_turns for row in rows) else sum(row.usd for row in rows)

    def known_cost(self, phase: Phase | None = None) -> float:
        """Return USD for the turns (of a phase) whose price is known."""
        return sum(row.usd for row in self._of(phase))

    def tokens(self, phase: Phase | None = None) -> Usage:
        """Return the tokens of all turns (of a phase)."""
        return sum((row.tokens for row in self._of(phase)), Usage())

    def turns(self, phase: Phase | None = None) -> int:
        """Return how many turns (of a phase) were answered."""
        return sum(row.turns for row in self._of(phase))

    def _of(self, phase: Phase | None) -> list[UsageRow]:
        return [row for (worked, _), row in self.rows.items() if phase in (None, worked)]

    def _row(self, phase: Phase, route: Route) -> UsageRow:
        return self.rows.setdefault((phase, route), UsageRow())

    def _book(self, row: UsageRow, event: TurnEnded) -> None:
        row.turns += 1
        row.tokens += event.reply.usage
        row.usd += event.cost or 0.0
        row.unpriced_turns += event.cost is None
        if event.reply.served_model not in row.served_models:
            row.served_models.append(event.reply.served_model)

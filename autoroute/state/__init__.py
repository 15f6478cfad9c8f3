"""What the events of a run mean: one fold, ``RunState``, that the engine, the store and the renderers share.

    state = RunState.of(events)     # or: state = RunState(); state.apply(event) for each event as it happens

The state after a prefix of a run's events is the same whether they were read from its journal or have just happened,
so a resumed run continues exactly where it stopped. Events are kept whole where a view needs several of their fields.

    run_state.py      RunState, Position, Work, History: what was started, where the run is, what it has made
    conversation.py   Conversation: the messages so far, and what the model is told next
    usage.py          UsageByRoute: requests, tokens, cost and time of each route in each phase

Every record reads the events that concern it in its own ``apply``. ``MEANINGLESS`` lists the events that none reads.
"""

from autoroute.state.conversation import Conversation, Pending, Serving, truncate_results, without_thinking
from autoroute.state.run_state import (
    MEANINGLESS,
    ArtifactName,
    History,
    Objection,
    Position,
    RecoveryRecord,
    RunState,
    Work,
)
from autoroute.state.usage import UsageByRoute, UsageRow

__all__ = [
    "MEANINGLESS",
    "ArtifactName",
    "Conversation",
    "History",
    "Objection",
    "Pending",
    "Position",
    "RecoveryRecord",
    "RunState",
    "Serving",
    "UsageByRoute",
    "UsageRow",
    "Work",
    "truncate_results",
    "without_thinking",
]

"""The agent loop: a conversation with one model about one phase, turn by turn, tools included."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from autoroute.engine.conversation import Conversation
from autoroute.engine.model_session import ModelSession
from autoroute.engine.turns import Turns
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import ArtifactRejected, Event, PromptSent, ToolEnded, ToolStarted
from autoroute.messages import ToolCall
from autoroute.phases import PHASES, prompts
from autoroute.tools import PreparedCall, Toolbox, ToolOutcome

_PARALLEL_CALLS = 8


class Agent:
    """The agent of one conversation, which only grows at its end: every request begins with the bytes of the last.

    Given a ``conversation`` that was cut off, it continues there: it repeats no answered request, and runs no call
    again that had begun.
    """

    def __init__(self, session: ModelSession, toolbox: Toolbox, conversation: Conversation | None = None) -> None:
        self._session = session
        self._toolbox = toolbox
        self._submit = PHASES[session.phase].submit_tool
        self._cut_off = conversation is not None
        self._conversation = conversation or Conversation(session.phase, redact=session.redact)
        self._turns = Turns(session, self._conversation, toolbox.specs)

    @property
    def served_model(self) -> str:
        """What the last reply said it came from."""
        return self._conversation.served_model

    @property
    def earlier_attempts(self) -> int:
        """How many attempts at its subtask other models have had than the one that sits there now."""
        return (
            self._conversation.attempt if self._conversation.is_new(self._session.route) else self._conversation.earlier
        )

    def begin_attempt(self, number: int, tree: str) -> None:
        """Another attempt at its subtask begins, from a tree of the workspace."""
        self._conversation.attempt, self._conversation.tree = number, tree

    def obtain(self, ask: str) -> Generator[Event, None, dict[str, Any]]:
        """Open the conversation and insist, within bounds, on the artifact of its phase (its JSON form).

        Raises ``PhaseFailed`` when the model hands on nothing valid after ``max_corrections`` corrections.
        """
        artifact = yield from self.say(ask)
        while artifact is None:
            if not self._conversation.refused:
                yield self._correction(f"{self._submit} was not called")
            artifact = yield from self.say(prompts.correct_missing_artifact(str(self._submit)))
        return artifact

    def say(self, text: str) -> Generator[Event, None, dict[str, Any] | None]:
        """Say something and let the model work until it hands on an artifact (returned) or ends its turn (None).

        The first time after a cut nothing is said, and the model works on from there. Raises a ``ProviderError``
        when the provider fails beyond recovery, ``PhaseFailed`` when the turns are used up.
        """
        conversation = self._conversation
        if self._cut_off:
            self._cut_off = False
            artifact = yield from self._use_tools()
        else:
            yield conversation.note(PromptSent(phase=self._session.phase, text=text, opens=not conversation.messages))
            artifact = None
        while artifact is None and conversation.due is not None:
            yield from self._turns.take()
            artifact = yield from self._use_tools()
        return artifact

    def _use_tools(self) -> Generator[Event, None, dict[str, Any] | None]:
        """Run the calls of the last reply that have no result yet; the artifact, if one of them handed it on.

        Results keep the order of their calls; calls that only read run side by side.
        """
        conversation = self._conversation
        artifact: dict[str, Any] | None = None
        reading: list[tuple[ToolCall, PreparedCall]] = []
        for call in conversation.reply.message.calls if conversation.reply else ():
            if call.id in conversation.results:
                artifact = self._handed_on(call) or artifact
                continue
            prepared = self._prepare(call)
            if prepared.read_only:
                reading.append((call, prepared))
                continue
            yield from self._run_side_by_side(reading)
            reading = []
            outcome = yield from self._run(call, prepared)
            artifact = outcome.artifact or artifact
            if call.name == self._submit and outcome.is_error:
                yield self._correction(outcome.text)
        yield from self._run_side_by_side(reading)
        return artifact

    def _handed_on(self, call: ToolCall) -> dict[str, Any] | None:
        """The artifact of a submit call whose acceptance is on record."""
        if call.name != self._submit or self._conversation.results[call.id].is_error:
            return None
        return self._toolbox.prepare(call).run().artifact

    def _prepare(self, call: ToolCall) -> PreparedCall:
        """The call made ready, in place of what a cut left of it where it had begun."""
        begun = self._conversation.begun.get(call.id)
        if begun is None:
            return self._toolbox.prepare(call)
        if begun.checkpoint:
            self._session.workspace.restore(begun.checkpoint)
        return self._toolbox.prepare_interrupted(call, begun.intent)

    def _run(self, call: ToolCall, prepared: PreparedCall) -> Generator[Event, None, ToolOutcome]:
        yield from self._start(call, prepared)
        started = self._session.clock.monotonic()
        outcome = prepared.run()
        yield self._tool_ended(call, outcome, self._session.clock.monotonic() - started)
        return outcome

    def _run_side_by_side(self, reading: Sequence[tuple[ToolCall, PreparedCall]]) -> Generator[Event, None, None]:
        if len(reading) == 1:
            yield from self._run(*reading[0])
        if len(reading) <= 1:
            return
        for call, prepared in reading:
            yield from self._start(call, prepared)
        started = self._session.clock.monotonic()
        with ThreadPoolExecutor(max_workers=min(len(reading), _PARALLEL_CALLS)) as pool:
            outcomes = list(pool.map(lambda item: item[1].run(), reading))
        seconds = self._session.clock.monotonic() - started
        for (call, _), outcome in zip(reading, outcomes, strict=True):
            yield self._tool_ended(call, outcome, seconds)

    def _start(self, call: ToolCall, prepared: PreparedCall) -> Generator[Event, None, None]:
        """Say what is about to happen, once, with what it takes to undo it."""
        conversation = self._conversation
        if call.id in conversation.begun:
            return
        yield conversation.note(
            ToolStarted(
                phase=self._session.phase,
                turn=conversation.turn,
                call=call.id,
                name=call.name,
                arguments=call.arguments,
                summary=prepared.summary,
                intent=prepared.intent,
                checkpoint=self._session.workspace.snapshot() if prepared.needs_checkpoint else "",
            )
        )

    def _tool_ended(self, call: ToolCall, outcome: ToolOutcome, seconds: float) -> ToolEnded:
        return self._conversation.note(
            ToolEnded(
                phase=self._session.phase,
                turn=self._conversation.turn,
                call=call.id,
                name=call.name,
                text=outcome.text,
                is_error=outcome.is_error,
                seconds=seconds,
            )
        )

    def _correction(self, complaint: str) -> ArtifactRejected:
        """Count a correction; the event that reports it. Raises ``PhaseFailed`` when there were too many."""
        session, conversation = self._session, self._conversation
        artifact = str(PHASES[session.phase].artifact)
        made = 0 if conversation.is_new(session.route) else conversation.corrections
        if made >= session.limits.max_corrections:
            raise PhaseFailed(
                f"{session.route.name} handed on no valid {artifact} in {made + 1} attempts; "
                f"the last complaint: {complaint}",
                exit_code=ExitCode.CONFIGURATION,
                hint=f"choose another model for this phase: --{PHASES[session.phase].flag} ROUTE",
            )
        return conversation.note(
            ArtifactRejected(phase=session.phase, artifact=artifact, complaint=complaint, attempt=made + 1)
        )

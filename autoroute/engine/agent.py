"""The agent loop: a conversation with one model about one phase, turn by turn, tools included."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from autoroute.engine.memory import Memory
from autoroute.engine.seat import Seat
from autoroute.engine.turns import Turns
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import ArtifactRejected, Event, PromptSent, ToolEnded, ToolStarted
from autoroute.messages import ToolCall
from autoroute.phases import PHASES, prompts
from autoroute.tools import PreparedCall, Toolbox, ToolOutcome

_PARALLEL_CALLS = 8


class Conversation:
    """One conversation: it grows at its end only, so every request begins with the bytes of the one before.

    Given the ``memory`` of one that was cut off, it goes on where that stopped: nothing that was answered is asked
    again, and no call that had begun is simply run again.
    """

    def __init__(self, seat: Seat, toolbox: Toolbox, memory: Memory | None = None) -> None:
        self._seat = seat
        self._toolbox = toolbox
        self._submit = PHASES[seat.phase].submit
        self._cut_off = memory is not None
        self._memory = memory or Memory(seat.phase, redact=seat.redact)
        self._turns = Turns(seat, self._memory, toolbox.specs)

    @property
    def served_model(self) -> str:
        """What the last reply said it came from."""
        return self._memory.served_model

    @property
    def earlier_attempts(self) -> int:
        """How many attempts at its subtask other models have had than the one that sits there now."""
        return self._memory.attempt if self._memory.is_new(self._seat.route) else self._memory.earlier

    def begin_attempt(self, number: int, tree: str) -> None:
        """Another attempt at its subtask begins, from a tree of the workspace."""
        self._memory.attempt, self._memory.tree = number, tree

    def obtain(self, ask: str) -> Generator[Event, None, dict[str, Any]]:
        """Open the conversation and insist, within bounds, on the artifact of its phase (its JSON form).

        Raises ``PhaseFailed`` when the model hands on nothing valid after ``max_corrections`` corrections.
        """
        artifact = yield from self.say(ask)
        while artifact is None:
            if not self._memory.refused:
                yield self._correction(f"{self._submit} was not called")
            artifact = yield from self.say(prompts.correct_missing(str(self._submit)))
        return artifact

    def say(self, text: str) -> Generator[Event, None, dict[str, Any] | None]:
        """Say something and let the model work until it hands on an artifact (returned) or ends its turn (None).

        The first time after a cut nothing is said, and the model works on from there. Raises a ``ProviderError``
        when the provider fails beyond recovery, ``PhaseFailed`` when the turns are used up.
        """
        memory = self._memory
        if self._cut_off:
            self._cut_off = False
            artifact = yield from self._use_tools()
        else:
            yield memory.note(PromptSent(phase=self._seat.phase, text=text, opens=not memory.messages))
            artifact = None
        while artifact is None and memory.due is not None:
            yield from self._turns.take()
            artifact = yield from self._use_tools()
        return artifact

    def _use_tools(self) -> Generator[Event, None, dict[str, Any] | None]:
        """Run the calls of the last reply that have no result yet; the artifact, if one of them handed it on.

        Results keep the order of their calls; calls that only read run side by side.
        """
        memory = self._memory
        artifact: dict[str, Any] | None = None
        reading: list[tuple[ToolCall, PreparedCall]] = []
        for call in memory.reply.message.calls if memory.reply else ():
            if call.id in memory.results:
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
        if call.name != self._submit or self._memory.results[call.id].is_error:
            return None
        return self._toolbox.prepare(call).run().artifact

    def _prepare(self, call: ToolCall) -> PreparedCall:
        """The call made ready, in place of what a cut left of it where it had begun."""
        begun = self._memory.begun.get(call.id)
        if begun is None:
            return self._toolbox.prepare(call)
        if begun.checkpoint:
            self._seat.workspace.restore(begun.checkpoint)
        return self._toolbox.prepare_interrupted(call, begun.intent)

    def _run(self, call: ToolCall, prepared: PreparedCall) -> Generator[Event, None, ToolOutcome]:
        yield from self._start(call, prepared)
        started = self._seat.clock.monotonic()
        outcome = prepared.run()
        yield self._tool_ended(call, outcome, self._seat.clock.monotonic() - started)
        return outcome

    def _run_side_by_side(self, reading: Sequence[tuple[ToolCall, PreparedCall]]) -> Generator[Event, None, None]:
        if len(reading) == 1:
            yield from self._run(*reading[0])
        if len(reading) <= 1:
            return
        for call, prepared in reading:
            yield from self._start(call, prepared)
        started = self._seat.clock.monotonic()
        with ThreadPoolExecutor(max_workers=min(len(reading), _PARALLEL_CALLS)) as pool:
            outcomes = list(pool.map(lambda item: item[1].run(), reading))
        seconds = self._seat.clock.monotonic() - started
        for (call, _), outcome in zip(reading, outcomes, strict=True):
            yield self._tool_ended(call, outcome, seconds)

    def _start(self, call: ToolCall, prepared: PreparedCall) -> Generator[Event, None, None]:
        """Say what is about to happen, once, with what it takes to undo it."""
        memory = self._memory
        if call.id in memory.begun:
            return
        yield memory.note(
            ToolStarted(
                phase=self._seat.phase,
                turn=memory.turn,
                call=call.id,
                name=call.name,
                arguments=call.arguments,
                summary=prepared.summary,
                intent=prepared.intent,
                checkpoint=self._seat.workspace.snapshot() if prepared.needs_checkpoint else "",
            )
        )

    def _tool_ended(self, call: ToolCall, outcome: ToolOutcome, seconds: float) -> ToolEnded:
        return self._memory.note(
            ToolEnded(
                phase=self._seat.phase,
                turn=self._memory.turn,
                call=call.id,
                name=call.name,
                text=outcome.text,
                is_error=outcome.is_error,
                seconds=seconds,
            )
        )

    def _correction(self, complaint: str) -> ArtifactRejected:
        """Count a correction; the event that reports it. Raises ``PhaseFailed`` when there were too many."""
        seat, memory = self._seat, self._memory
        artifact = str(PHASES[seat.phase].artifact)
        made = 0 if memory.is_new(seat.route) else memory.corrections
        if made >= seat.limits.max_corrections:
            raise PhaseFailed(
                f"{seat.route.name} handed on no valid {artifact} in {made + 1} attempts; "
                f"the last complaint: {complaint}",
                exit_code=ExitCode.CONFIGURATION,
                hint=f"choose another model for this phase: --{PHASES[seat.phase].flag} ROUTE",
            )
        return memory.note(ArtifactRejected(phase=seat.phase, artifact=artifact, complaint=complaint, attempt=made + 1))

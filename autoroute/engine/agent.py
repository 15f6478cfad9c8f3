"""The agent loop: a conversation with one model about one phase, turn by turn, tools included."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from autoroute.engine.left_out import describe_new_files
from autoroute.engine.model_session import ModelSession
from autoroute.engine.policy import Question
from autoroute.engine.sitting import Sitting
from autoroute.engine.turns import Turns
from autoroute.errors import ExitCode, PhaseFailed
from autoroute.events import ArtifactRejected, Event, PromptSent, ToolEnded, ToolStarted
from autoroute.messages import Stop, ToolCall
from autoroute.phases import PHASES, prompts
from autoroute.routing import Phase
from autoroute.state import Conversation
from autoroute.tools import PreparedCall, Toolbox, ToolContext, ToolOutcome

_MAX_PARALLEL_CALLS = 8


def open_agent(session: ModelSession, *, handed_on: bool = False) -> Agent:
    """Return the agent of a phase, with the phase's tools: for the conversation that was cut off, or a new one.

    ``handed_on`` means that the conversation came to its artifact, so that the next prompt is new to the model.
    """
    return Agent(session, open_phase_toolbox(session.sitting, session.phase), handed_on=handed_on)


def open_phase_toolbox(sitting: Sitting, phase: Phase) -> Toolbox:
    """Return the toolbox of a phase, as the caller of the run has it made."""
    context = sitting.context
    tool_context = ToolContext(
        root=context.workspace.root,
        commands=context.workbench.commands,
        logs=context.files.logs,
        command_timeout=context.config.limits.command_timeout,
        ask=lambda text, options: context.decider.answer(Question(phase, text, options)),
        check=sitting.find_complaints,
        ripgrep=context.workbench.ripgrep,
        redact=context.redact,
        place=context.workspace.place,
        find_holders=context.workspace.find_holders,
        explain_left_out=context.workspace.left_out.explain,
        describe_new_files=(lambda: describe_new_files(sitting)) if PHASES[phase].writes else str,
        read_only=frozenset(context.workspace.submodules),
    )
    return context.workbench.open_toolbox(PHASES[phase].tools, tool_context)


class Agent:
    """The agent of one conversation, which only grows at its end: every request begins with the bytes of the last.

    A conversation that was cut off is continued where it stopped: no answered request is repeated, and no call runs
    again that had begun.
    """

    def __init__(self, session: ModelSession, toolbox: Toolbox, *, handed_on: bool = False) -> None:
        self._session = session
        self._toolbox = toolbox
        self._context = session.sitting.context
        self._state = session.sitting.state
        self._submit = PHASES[session.phase].submit_tool
        self._cut_off = self._state.conversation is not None and not handed_on
        self._turns = Turns(session, toolbox.specs)

    @property
    def served_model(self) -> str:
        """The model that the last reply named; "" before the first reply."""
        return self._state.conversation.served_model if self._state.conversation else ""

    @property
    def earlier_attempts(self) -> int:
        """How many attempts at the subtask were over when the model that serves now took over."""
        conversation = self._conversation
        return (
            conversation.attempt if conversation.is_new(self._session.route) else conversation.serving.earlier_attempts
        )

    def obtain_artifact(self, prompt: str) -> Generator[Event, None, dict[str, Any]]:
        """Open the conversation and insist, within bounds, on the artifact of its phase; return its JSON form.

        Raises ``PhaseFailed`` when the model submits nothing valid after ``max_corrections`` corrections.
        """
        artifact = yield from self.say(prompt)
        while artifact is None:
            if not self._conversation.pending.rejected:
                yield self._rejection(f"{self._submit} was not called")
            artifact = yield from self.say(prompts.correct_missing_artifact(str(self._submit)))
        return artifact

    def say(self, text: str) -> Generator[Event, None, dict[str, Any] | None]:
        """Send a prompt and let the model work until it submits an artifact (returned) or ends its turn (None).

        The first call after a cut sends nothing: the model continues from there. Raises a ``ProviderError`` when the
        provider fails beyond recovery, ``PhaseFailed`` when the turns are used up.
        """
        artifact: dict[str, Any] | None = None
        if self._cut_off:
            self._cut_off = False
            artifact = yield from self._run_calls()
        else:
            yield PromptSent(phase=self._session.phase, text=text, opens=self._state.conversation is None)
        while artifact is None:
            yield from self._continue_reply()
            if self._conversation.due is None:
                return None
            yield from self._turns.take()
            artifact = yield from self._run_calls()
        return artifact

    @property
    def _conversation(self) -> Conversation:
        conversation = self._state.conversation
        assert conversation is not None, "no prompt has opened the conversation"
        return conversation

    def _continue_reply(self) -> Generator[Event, None, None]:
        """Ask for the rest of a reply that was cut at the output limit, or that the provider paused."""
        reply = self._conversation.reply
        if reply is None or self._conversation.pending.prompts:
            return
        phase = self._session.phase
        match reply.stop:
            case Stop.LENGTH:
                yield PromptSent(phase=phase, text=prompts.correct_truncated_reply(phase), opens=False)
            case Stop.PAUSE:
                yield PromptSent(phase=phase, text=prompts.CONTINUE, opens=False)

    def _run_calls(self) -> Generator[Event, None, dict[str, Any] | None]:
        """Run the calls of the last reply that have no result yet; return the artifact if one of them submitted it.

        Results keep the order of their calls. Calls that only read run in parallel.
        """
        artifact: dict[str, Any] | None = None
        reads: list[tuple[ToolCall, PreparedCall]] = []
        for call in self._conversation.reply.message.calls if self._conversation.reply else ():
            if call.id in self._conversation.pending.results:
                artifact = self._submitted(call) or artifact
                continue
            prepared = self._prepare(call)
            if prepared.read_only:
                reads.append((call, prepared))
                continue
            yield from self._run_in_parallel(reads)
            reads = []
            outcome = yield from self._run(call, prepared)
            artifact = outcome.artifact or artifact
            if call.name == self._submit and outcome.is_error:
                yield self._rejection(outcome.text)
        yield from self._run_in_parallel(reads)
        return artifact

    def _submitted(self, call: ToolCall) -> dict[str, Any] | None:
        """Return the artifact of a submit call whose acceptance is on record, unless another was asked for since."""
        if self._conversation.pending.prompts:
            return None
        if call.name != self._submit or self._conversation.pending.results[call.id].is_error:
            return None
        return self._toolbox.prepare(call).run().artifact

    def _prepare(self, call: ToolCall) -> PreparedCall:
        """Return the call, ready to run. What a cut left of a call that had begun is undone first."""
        begun = self._conversation.pending.begun.get(call.id)
        if begun is None:
            return self._toolbox.prepare(call)
        if begun.checkpoint:
            self._context.workspace.restore(begun.checkpoint)
        return self._toolbox.prepare_interrupted(call, begun.intent)

    def _run(self, call: ToolCall, prepared: PreparedCall) -> Generator[Event, None, ToolOutcome]:
        yield from self._start(call, prepared)
        started = self._context.clock.monotonic()
        outcome = prepared.run()
        yield self._tool_ended(call, outcome, self._context.clock.monotonic() - started)
        return outcome

    def _run_in_parallel(self, reads: Sequence[tuple[ToolCall, PreparedCall]]) -> Generator[Event, None, None]:
        if len(reads) == 1:
            yield from self._run(*reads[0])
        if len(reads) <= 1:
            return
        for call, prepared in reads:
            yield from self._start(call, prepared)
        started = self._context.clock.monotonic()
        with ThreadPoolExecutor(max_workers=min(len(reads), _MAX_PARALLEL_CALLS)) as pool:
            outcomes = list(pool.map(lambda item: item[1].run(), reads))
        seconds = self._context.clock.monotonic() - started
        for (call, _), outcome in zip(reads, outcomes, strict=True):
            yield self._tool_ended(call, outcome, seconds)

    def _start(self, call: ToolCall, prepared: PreparedCall) -> Generator[Event, None, None]:
        """Report what is about to happen, once, with what is needed to undo it."""
        self._context.cancel.check()
        if call.id in self._conversation.pending.begun:
            return
        yield ToolStarted(
            phase=self._session.phase,
            turn=self._turn,
            call=call.id,
            name=call.name,
            arguments=call.arguments,
            summary=prepared.summary,
            intent=prepared.intent,
            checkpoint=self._context.workspace.snapshot() if prepared.needs_checkpoint else "",
        )

    @property
    def _turn(self) -> int:
        """The turn whose calls run."""
        return self._conversation.last.turn if self._conversation.last else 0

    def _tool_ended(self, call: ToolCall, outcome: ToolOutcome, seconds: float) -> ToolEnded:
        return ToolEnded(
            phase=self._session.phase,
            turn=self._turn,
            call=call.id,
            name=call.name,
            text=outcome.text,
            is_error=outcome.is_error,
            seconds=seconds,
        )

    def _rejection(self, complaint: str) -> ArtifactRejected:
        """Return the event that sends an artifact back. Raises ``PhaseFailed`` after too many corrections."""
        route, phase, conversation = self._session.route, PHASES[self._session.phase], self._conversation
        artifact = str(phase.artifact)
        made = 0 if conversation.is_new(route) else conversation.serving.corrections
        if made >= self._context.config.limits.max_corrections:
            raise PhaseFailed(
                f"{route.name} handed on no valid {artifact} in {made + 1} attempts; the last complaint: {complaint}",
                exit_code=ExitCode.CONFIGURATION,
                hint=f"choose another model for this phase: --{phase.flag} ROUTE",
            )
        return ArtifactRejected(phase=phase.phase, artifact=artifact, complaint=complaint, attempt=made + 1)

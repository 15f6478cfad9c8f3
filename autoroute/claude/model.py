"""A conversation with a model through Claude Code, as a ``wire.Model``.

The process holds the conversation. Each request of the engine repeats the one before and adds a reply and new text. So
only the new text is sent to the running process. A different conversation (after a crash, a compaction or a change of
account) starts a new process, which gets the whole of it in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoroute.claude.cli_process import CliProcess, Deadline
from autoroute.claude.mcp_server import SERVER_NAME, TOOL_PREFIX, McpServer
from autoroute.claude.plan_usage import PlanUsage, read_usage
from autoroute.claude.stream_reader import StreamReader
from autoroute.errors import ProviderError
from autoroute.messages import Delta, Message, Reply, Request, Stop, ToolResult
from autoroute.phases import prompts
from autoroute.routing import Clocks, ProviderProfile
from autoroute.wire.classification import check_error_table
from autoroute.wire.payload import RequestDigest, as_object

_MCP_CONFIG = json.dumps({"mcpServers": {SERVER_NAME: {"type": "sdk", "name": SERVER_NAME}}})
_FLAGS = (
    # Claude Code rejects stream-json output with -p unless --verbose is set (2.1.330).
    *("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
    "--include-partial-messages",
    "--no-session-persistence",
    # No tools but the phase's own. Any other call is refused without a question.
    *("--tools", "", "--strict-mcp-config", "--mcp-config", _MCP_CONFIG),
    *("--allowedTools", f"mcp__{SERVER_NAME}", "--permission-mode", "dontAsk"),
    # No settings of the user or of a repository: they may contain hooks, keys and another provider's URL.
    *("--setting-sources", ""),
)
_FINAL_STOPS = (Stop.REFUSAL, Stop.CONTEXT, Stop.LENGTH)
"""After such a reply Claude Code would continue on its own, so the process is ended."""


@dataclass(frozen=True, slots=True)
class AccountHooks:
    """What a conversation gets from its account, and reports to it."""

    environment: Callable[[int], Mapping[str, str]]
    """Returns the variables of the process, for a limit of output tokens."""
    annotate: Callable[[ProviderError], None]
    """Adds account and hint to an error."""
    record_usage: Callable[[PlanUsage], None]
    reason_to_leave: Callable[[], ProviderError | None]
    """Returns why the account should not be asked now, although it would answer."""


@dataclass(slots=True)
class _Conversation:
    """The running process, and what it has been told."""

    process: CliProcess
    tools: McpServer
    request: Request
    reply: Reply | None = None
    """The reply to ``request``, None until there is one."""
    open_turns: int = 0
    """Turns that the process has begun and not ended."""

    def tell(self, text: str) -> None:
        """Send a user message, which begins a turn."""
        message = {"role": "user", "content": text}
        self.process.send({"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "default"})
        self.open_turns += 1

    def leads_to(self, request: Request) -> bool:
        """Return whether the request continues this conversation, or repeats its last request."""
        before, reply = self.request, self.reply
        if (before.system, before.tools, before.effort, before.model, before.max_tokens) != (
            (request.system, request.tools, request.effort, request.model, request.max_tokens)
        ):
            return False
        if reply is None:
            return request.messages == before.messages
        return request.messages[:-1] == (*before.messages, reply.message)

    def proceed(self, request: Request) -> None:
        """Send the new part of the request."""
        reply, last = self.reply, request.messages[-1]
        self.request, self.reply = request, None
        results = [part for part in last.parts if isinstance(part, ToolResult)]
        if reply is None:
            self.tell(prompts.CONTINUE)  # a repeated request: the process has its text, and met an error
        elif results:
            self.tools.submit_results(results, last.text)
        else:
            self.tell(last.text)


@dataclass(slots=True)
class ClaudeModel:
    """One model on one account; see ``wire.Model``. ``root`` is the folder in which the process runs."""

    executable: Path
    profile: ProviderProfile
    clocks: Clocks
    root: Path
    account: AccountHooks
    _conversation: _Conversation | None = None
    _is_asking: bool = False
    _is_interrupted: bool = False
    """Whether ``interrupt`` was called during the ``ask`` that is running."""
    _digest: RequestDigest = field(default_factory=RequestDigest)

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn."""
        check_error_table(self.profile)
        is_reusable = False
        self._is_asking, self._is_interrupted = True, False
        try:
            reason = self.account.reason_to_leave()
            if reason is not None:
                raise reason
            conversation = self._send(request)
            conversation.process.clear_interrupt()
            if self._is_interrupted:  # while the process was started
                conversation.process.interrupt()
            reply = yield from self._read(conversation, request)
            is_reusable = True
        except ProviderError as error:
            running = self._conversation
            is_reusable = running is not None and running.process.is_alive and running.open_turns == 0
            self.account.annotate(error)
            raise
        finally:
            self._is_asking = False
            if not is_reusable:
                self.close()
        yield reply

    def digest(self, request: Request) -> str:
        """Return the SHA-256 of the request's own JSON, because Claude Code writes the body that is sent."""
        return self._digest.of(request)

    def interrupt(self) -> None:
        """End the request in flight, and with it the process."""
        if self._is_asking:
            self._is_interrupted = True
            conversation = self._conversation
            if conversation is not None:
                conversation.process.interrupt()

    def close(self) -> None:
        """End the process."""
        conversation, self._conversation = self._conversation, None
        if conversation is None:
            return
        try:
            # The usage of the account arrives after each reply. Read the last one for the next phase.
            for line in conversation.process.unread_lines():
                self._note_usage(line)
        finally:
            conversation.process.close()

    def _note_usage(self, line: Mapping[str, Any]) -> None:
        if line.get("type") == "rate_limit_event":
            self.account.record_usage(read_usage(as_object(line.get("rate_limit_info"))))

    def _send(self, request: Request) -> _Conversation:
        """Send what is new to the running process, or the whole conversation to a new one."""
        conversation = self._conversation
        if conversation is None or not conversation.process.is_alive or not conversation.leads_to(request):
            return self._start(request)
        conversation.proceed(request)
        return conversation

    def _start(self, request: Request) -> _Conversation:
        self.close()
        effort = ("--effort", request.effort) if request.effort else ()
        command = (self.executable, *_FLAGS, "--model", request.model, *effort)
        process = CliProcess(command, self.account.environment(request.max_tokens), self.root)
        conversation = self._conversation = _Conversation(process, McpServer(request.tools, process.send), request)
        system = f"{request.system}\n\n{prompts.explain_tool_prefix(TOOL_PREFIX)}" if request.tools else request.system
        initialize = {"subtype": "initialize", "systemPrompt": system, "hooks": None}
        process.send({"type": "control_request", "request_id": "begin", "request": initialize})
        conversation.tell(_in_words(request.messages))
        return conversation

    def _read(self, conversation: _Conversation, request: Request) -> Generator[Delta, None, Reply]:
        """Yield the deltas of the reply; return the complete reply."""
        deadline = Deadline(self.clocks)
        reader = StreamReader(self.profile, request)
        while (reply := reader.reply) is None:
            line = conversation.process.read_line(deadline)
            if line.get("type") == "control_request":
                conversation.tools.handle_request(line)
                continue
            starts = reader.starts
            try:
                deltas = reader.feed(line)
            finally:
                self._note_usage(line)
                if line.get("type") == "result":
                    conversation.open_turns -= 1
            if reader.starts > starts:
                conversation.tools.begin_reply()
            if deltas is not None:
                deadline.note_activity()
                yield from deltas
            if line.get("type") == "result" and conversation.open_turns <= 0 and reader.reply is None:
                raise reader.missing_reply()
        if reply.stop in _FINAL_STOPS:
            self.close()
            return reply
        conversation.reply = reply
        conversation.tools.expect_calls(reply.message.calls)
        return reply


def _in_words(messages: tuple[Message, ...]) -> str:
    """Return a conversation as one text. A single message is returned as it is."""
    if len(messages) == 1:
        return messages[0].text
    names = {call.id: call.name for message in messages for call in message.calls}
    transcript = [prompts.describe_message(message, names) for message in messages[1:]]
    return prompts.continue_from_transcript(messages[0].text, transcript)

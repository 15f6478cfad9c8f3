"""A conversation with a model through the official program, as a ``wire.Model``.

The process holds the conversation. Each request of the engine is the one before with a reply and the next words at its
end; so what is new is said to the process that runs, and only where the conversation is another one (after a crash, a
shortening, a change of account) does a new process hear all of it, told in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoroute.claude.api_errors import PlanUsage, read_usage
from autoroute.claude.cli_process import CliProcess, Deadline
from autoroute.claude.mcp_server import PREFIX, SERVER, McpServer
from autoroute.claude.stream_reader import StreamReader
from autoroute.errors import ProviderError
from autoroute.messages import Delta, Message, Reply, Request, Stop, ToolResult
from autoroute.phases import prompts
from autoroute.routing import Clocks, ProviderProfile
from autoroute.wire.classification import check_error_table
from autoroute.wire.payload import RequestDigest, as_object

_MCP = json.dumps({"mcpServers": {SERVER: {"type": "sdk", "name": SERVER}}})
_FLAGS = (
    *("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
    "--include-partial-messages",
    "--no-session-persistence",
    # The tools are ours, and a phase has no others; what is not allowed is refused, and nobody is asked.
    *("--tools", "", "--strict-mcp-config", "--mcp-config", _MCP),
    *("--allowedTools", f"mcp__{SERVER}", "--permission-mode", "dontAsk"),
    # Neither the user's settings nor those of a repository, which may hold hooks, keys and another provider's address.
    *("--setting-sources", ""),
)
_LAST = (Stop.REFUSAL, Stop.CONTEXT, Stop.LENGTH)
"""How a reply ends after which the process would go on as it likes: what comes next is told to a new one."""


@dataclass(slots=True)
class ClaudeModel:
    """One model, on one account; see ``wire.Model``.

    ``environment`` makes the process's variables for a bound of output tokens, ``explain`` completes an error,
    ``heard`` is told what is used of the account, and ``leave`` says why it should not be asked now, although it would
    answer.
    """

    program: Path
    profile: ProviderProfile
    clocks: Clocks
    root: Path
    environment: Callable[[int], Mapping[str, str]]
    explain: Callable[[ProviderError], None]
    heard: Callable[[PlanUsage], None]
    leave: Callable[[], ProviderError | None]
    _session: CliProcess | None = None
    _bridge: McpServer | None = None
    _asked: Request | None = None
    _answer: Reply | None = None
    """The reply to ``_asked``; None when there was none."""
    _open: int = 0
    """Turns that the process has begun and not ended."""
    _is_asking: bool = False
    _is_interrupted: bool = False
    """Whether ``interrupt`` was called during the ``ask`` that is running."""
    _digest: RequestDigest = field(default_factory=RequestDigest)

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn."""
        check_error_table(self.profile)
        whole = False
        self._is_asking, self._is_interrupted = True, False
        try:
            reason = self.leave()
            if reason is not None:
                raise reason
            session, bridge = self._say(request)
            session.clear_interrupt()
            if self._is_interrupted:  # while the process was started
                session.interrupt()
            reply = yield from self._read(session, bridge, request)
            whole = True
        except ProviderError as error:
            whole = self._session is not None and self._session.is_alive and self._open == 0
            self.explain(error)
            raise
        finally:
            self._is_asking = False
            if not whole:
                self.close()
        yield reply

    def digest(self, request: Request) -> str:
        """Return the SHA-256 of the request's own JSON: the program writes the body that is sent."""
        return self._digest.of(request)

    def interrupt(self) -> None:
        """End the request in flight; its process ends with it."""
        if self._is_asking:
            self._is_interrupted = True
            session = self._session
            if session is not None:
                session.interrupt()

    def close(self) -> None:
        """End the process."""
        session, self._session, self._bridge = self._session, None, None
        self._asked = self._answer = None
        self._open = 0
        if session is None:
            return
        try:
            # What is used of the account is told after each reply: of the last one too it is known to the next phase.
            for line in session.unread():
                self._note(line)
        finally:
            session.close()

    def _note(self, line: Mapping[str, Any]) -> None:
        """Pass on what a line says of the account."""
        if line.get("type") == "rate_limit_event":
            self.heard(read_usage(as_object(line.get("rate_limit_info"))))

    def _say(self, request: Request) -> tuple[CliProcess, McpServer]:
        """Say what is new to the process that runs, or all of it to a new one."""
        if self._session is None or self._bridge is None or not self._session.is_alive or not self._follows(request):
            return self._begin(request)
        session, bridge, answer = self._session, self._bridge, self._answer
        self._asked, self._answer = request, None
        due = request.messages[-1]
        results = [part for part in due.parts if isinstance(part, ToolResult)]
        if answer is None:
            self._tell(session, prompts.CONTINUE)  # the same again: the process has heard it, and met an error
        elif results:
            bridge.answer(results, due.text)
        else:
            self._tell(session, due.text)
        return session, bridge

    def _follows(self, request: Request) -> bool:
        """Whether the request goes on from the one before, or is the same one again."""
        before, answer = self._asked, self._answer
        if before is None or (before.system, before.tools, before.effort, before.model, before.max_tokens) != (
            (request.system, request.tools, request.effort, request.model, request.max_tokens)
        ):
            return False
        if answer is None:
            return request.messages == before.messages
        return request.messages[:-1] == (*before.messages, answer.message)

    def _begin(self, request: Request) -> tuple[CliProcess, McpServer]:
        self.close()
        effort = ("--effort", request.effort) if request.effort else ()
        command = (self.program, *_FLAGS, "--model", request.model, *effort)
        session = CliProcess(command, self.environment(request.max_tokens), self.root)
        self._session, self._bridge = session, McpServer(request.tools, session.send)
        self._asked, self._answer = request, None
        system = f"{request.system}\n\n{prompts.explain_tool_prefix(PREFIX)}" if request.tools else request.system
        initialize = {"subtype": "initialize", "systemPrompt": system, "hooks": None}
        session.send({"type": "control_request", "request_id": "begin", "request": initialize})
        self._tell(session, _all_of(request.messages))
        return session, self._bridge

    def _tell(self, session: CliProcess, words: str) -> None:
        message = {"role": "user", "content": words}
        session.send({"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "default"})
        self._open += 1

    def _read(self, session: CliProcess, bridge: McpServer, request: Request) -> Generator[Delta, None, Reply]:
        """The deltas of the reply; returns the whole of it."""
        deadline = Deadline(self.clocks)
        reading = StreamReader(self.profile, request)
        while (reply := reading.reply) is None:
            line = session.read(deadline)
            if line.get("type") == "control_request":
                bridge.take(line)
                continue
            starts = reading.starts
            try:
                deltas = reading.feed(line)
            finally:
                self._note(line)
                if line.get("type") == "result":
                    self._open -= 1
            if reading.starts > starts:
                bridge.begin()
            if deltas is not None:
                deadline.heard()
                yield from deltas
            if line.get("type") == "result" and self._open <= 0 and reading.reply is None:
                raise reading.nothing()
        if reply.stop in _LAST:
            self.close()
            return reply
        self._answer = reply
        bridge.expect(reply.message.calls)
        return reply


def _all_of(messages: tuple[Message, ...]) -> str:
    """A conversation in words; that of one message is that message."""
    if len(messages) == 1:
        return messages[0].text
    names = {call.id: call.name for message in messages for call in message.calls}
    transcript = [prompts.describe_message(message, names) for message in messages[1:]]
    return prompts.continue_from_transcript(messages[0].text, transcript)

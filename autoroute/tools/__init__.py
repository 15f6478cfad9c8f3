"""What models may do: one file a tool (or pair of tools), one row each in ``_TOOLS``.

A tool never raises into the loop: what fails is a result that the model can act on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeVar

from autoroute.errors import AutorouteError, map_resource_error
from autoroute.events import Intent
from autoroute.messages import ToolCall, ToolSpec
from autoroute.redaction import REDACTED
from autoroute.text import truncate
from autoroute.tools.arguments import read_arguments
from autoroute.tools.ask import ASK
from autoroute.tools.bash import BASH
from autoroute.tools.edit import EDIT
from autoroute.tools.grep import FIND, GREP
from autoroute.tools.interrupted_call import NOT_RUN_AGAIN, settle
from autoroute.tools.read import READ
from autoroute.tools.schema import json_schema
from autoroute.tools.submit import SUBMIT_PLAN, SUBMIT_REVIEW, SUBMIT_SPEC
from autoroute.tools.tool import PreparedCall, Tool, Toolbox, ToolContext, ToolError, ToolOutcome
from autoroute.tools.write import WRITE
from autoroute.workspace.path_policy import FileRefused

__all__ = ["PreparedCall", "ToolContext", "ToolOutcome", "Toolbox", "digest_specs", "open_toolbox"]

_TOOLS: Mapping[str, Tool[Any]] = MappingProxyType(
    {tool.name: tool for tool in (READ, WRITE, EDIT, BASH, GREP, FIND, ASK, SUBMIT_SPEC, SUBMIT_PLAN, SUBMIT_REVIEW)}
)

_HOLDS_A_KEY = ToolOutcome(
    f"nothing was done: this call holds a key of the user's, which is hidden here and stands as {REDACTED}; "
    "do it without the key, and let the program read it where it is kept (a variable, a file that is not committed)",
    is_error=True,
)
_SUMMARY = 120
_NOT_FOR_ONE_LINE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")

Done = TypeVar("Done")


def open_toolbox(names: Sequence[str], context: ToolContext) -> Toolbox:
    """The tools of these names, in this order, at work in ``context``. Raises ``KeyError`` for an unknown name."""
    return _Table({name: _TOOLS[name] for name in names}, context)


def digest_specs(names: Sequence[str]) -> str:
    """Return the SHA-256, in hexadecimal, of what a model is told of these tools.

    Hashed is a JSON array without white space. It holds an array for each tool: name, description, parameters as text.
    """
    specs = [[spec.name, spec.description, spec.parameters] for spec in map(_spec, names)]
    return sha256(json.dumps(specs, separators=(",", ":")).encode("ascii")).hexdigest()


@cache
def _spec(name: str) -> ToolSpec:
    # Made once: each phase has a toolbox, and a schema takes milliseconds.
    tool = _TOOLS[name]
    return ToolSpec(tool.name, tool.description, json_schema(tool.arguments))


class _Table:
    def __init__(self, tools: Mapping[str, Tool[Any]], context: ToolContext) -> None:
        self._tools = tools
        self._context = context
        self._specs = tuple(map(_spec, tools))

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return self._specs

    def prepare(self, call: ToolCall) -> PreparedCall:
        tool = self._tools.get(call.name)
        if tool is None:
            refusal = ToolOutcome(
                _sendable(f"there is no tool {call.name[:80]!r}; the tools are {', '.join(self._tools)}"), is_error=True
            )
            return PreparedCall(_one_line(call.name), read_only=True, run=lambda: refusal)
        if call.altered and tool.literal:
            return PreparedCall(tool.name, tool.read_only, run=lambda: _HOLDS_A_KEY)
        step = _within_boundary(lambda: tool.prepare(read_arguments(call.arguments, tool.arguments), self._context))
        if isinstance(step, ToolOutcome):
            return PreparedCall(tool.name, tool.read_only, run=lambda: step)
        return PreparedCall(
            _one_line(f"{tool.name} {step.summary}"),
            tool.read_only,
            run=lambda: _within_boundary(step.run),
            intent=step.intent,
            needs_checkpoint=not tool.repeatable and step.intent is None,
        )

    def prepare_interrupted(self, call: ToolCall, intent: Intent | None) -> PreparedCall:
        tool = self._tools.get(call.name)
        if tool and intent:
            outcome = _within_boundary(lambda: settle(intent, tool.done, self._context))
            if outcome:
                return PreparedCall(_one_line(f"{tool.name} {intent.path}"), tool.read_only, run=lambda: outcome)
        prepared = self.prepare(call)
        if prepared.needs_checkpoint:
            return replace(prepared, run=lambda: NOT_RUN_AGAIN, needs_checkpoint=False)
        return prepared


def _within_boundary(action: Callable[[], Done]) -> Done | ToolOutcome:
    """What ``action`` gives, or the result that tells a model why it could not be done.

    Errors that end a run (a cancelled question, a broken workspace) are not the tool's, and pass; nor is a full disk,
    which no model can mend: the call is taken up again when the run is.
    """
    try:
        done = action()
    except (ToolError, FileRefused) as refusal:
        return ToolOutcome(_sendable(str(refusal)), is_error=True)
    except AutorouteError:
        raise
    except OSError as error:
        if failure := map_resource_error(error):
            raise failure from None
        return ToolOutcome(_sendable(f"{error.filename or 'the operation'}: {error.strerror or error}"), is_error=True)
    except Exception as error:  # noqa: BLE001 - the tool boundary: a bug of ours must not end the conversation
        return ToolOutcome(
            f"this tool failed with {type(error).__name__}, which is a bug of autoroute and no fault of the call; "
            "go on another way",
            is_error=True,
        )
    if isinstance(done, ToolOutcome):
        return ToolOutcome(_sendable(done.text), done.is_error, done.artifact)
    return done


def _one_line(text: str) -> str:
    return truncate(_NOT_FOR_ONE_LINE.sub(" ", _sendable(text)).strip(), _SUMMARY)


def _sendable(text: str) -> str:
    """The text without half characters, which stand for bytes of file names and can be sent to nobody."""
    return _HALF_CHARACTERS.sub("\ufffd", text)

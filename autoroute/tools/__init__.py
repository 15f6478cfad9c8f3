"""What models may do: one file for each tool, named for it, and one row for each in ``_TOOLS``.

A tool never raises into the agent loop: a failure is a result that the model can act on. The helpers:

    tool.py              what a tool is made of: Tool, Toolbox, ToolContext, ToolOutcome, PreparedCall
    arguments.py         a model's JSON to validated arguments; schema.py, the schema that models receive
    text_file.py         files as text and back to the same bytes; edit_match.py, where an edit applies
    line_endings.py      line endings that stay as a file has them
    file_list.py         the files that are listed and searched; gitignore.py and glob.py, the patterns
    line_search.py       matching lines, by ripgrep.py or python_search.py
    interrupted_call.py  calls that were running when autoroute was killed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeVar

from autoroute.errors import AutorouteError, map_resource_error
from autoroute.events import Intent
from autoroute.messages import ToolCall, ToolSpec
from autoroute.patterns import pattern
from autoroute.redaction import REDACTED
from autoroute.text import truncate
from autoroute.tools.arguments import read_arguments
from autoroute.tools.ask import ASK
from autoroute.tools.bash import BASH
from autoroute.tools.edit import EDIT
from autoroute.tools.find import FIND
from autoroute.tools.glob import match_names
from autoroute.tools.grep import GREP
from autoroute.tools.interrupted_call import NOT_RUN_AGAIN, outcome_of_change
from autoroute.tools.read import READ
from autoroute.tools.schema import json_schema
from autoroute.tools.submit import SUBMIT_PLAN, SUBMIT_REVIEW, SUBMIT_SPEC
from autoroute.tools.tool import PreparedCall, Tool, Toolbox, ToolContext, ToolError, ToolOutcome
from autoroute.tools.write import WRITE
from autoroute.workspace.path_policy import FileRefused

__all__ = [
    "PreparedCall",
    "ToolContext",
    "ToolOutcome",
    "Toolbox",
    "digest_specs",
    "match_names",
    "open_toolbox",
    "specs_of",
]

_TOOLS: Mapping[str, Tool[Any]] = MappingProxyType(
    {tool.name: tool for tool in (READ, WRITE, EDIT, BASH, GREP, FIND, ASK, SUBMIT_SPEC, SUBMIT_PLAN, SUBMIT_REVIEW)}
)

_KEY_REDACTED = ToolOutcome(
    f"not executed: this call contains one of the user's keys, which is hidden here and shown as {REDACTED}; "
    "do it without the key, and let the program read it from where it is kept (a variable, an uncommitted file)",
    is_error=True,
)
_MAX_SUMMARY_CHARACTERS = 120
_MAX_NAME_CHARACTERS = 80
_SPACE_AND_CONTROLS = pattern(r"[\s\x00-\x1f\x7f-\x9f]+")
_LONE_SURROGATES = pattern("[\ud800-\udfff]")

Result = TypeVar("Result")


def open_toolbox(names: Sequence[str], context: ToolContext) -> Toolbox:
    """Return a toolbox of the named tools, in this order, that works in ``context``.

    Raises ``KeyError`` for an unknown name.
    """
    return _Toolbox({name: _TOOLS[name] for name in names}, context)


def specs_of(names: Sequence[str]) -> tuple[ToolSpec, ...]:
    """Return the specs of the named tools, as the toolbox of ``open_toolbox`` has them."""
    return tuple(map(_spec, names))


def digest_specs(specs: Sequence[ToolSpec]) -> str:
    """Return the SHA-256, in hexadecimal, of the description of these tools that a model gets.

    Hashed is a JSON array without white space. It holds an array for each tool: name, description, parameters as text.
    """
    rows = [[spec.name, spec.description, spec.parameters] for spec in specs]
    return sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


@cache
def _spec(name: str) -> ToolSpec:
    # Cached: each phase opens a toolbox, and building a schema takes milliseconds.
    tool = _TOOLS[name]
    return ToolSpec(tool.name, tool.description, json_schema(tool.arguments))


class _Toolbox:
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
            name = call.name[:_MAX_NAME_CHARACTERS]
            unknown = _error(f"unknown tool {name!r}; the tools are {', '.join(self._tools)}")
            return PreparedCall(_one_line(call.name), read_only=True, run=lambda: unknown)
        if call.altered and tool.needs_exact_arguments:
            return PreparedCall(tool.name, tool.read_only, run=lambda: _KEY_REDACTED)
        step = _catch(lambda: tool.prepare(read_arguments(call.arguments, tool.arguments), self._context))
        if isinstance(step, ToolOutcome):
            return PreparedCall(tool.name, tool.read_only, run=lambda: step)
        return PreparedCall(
            _one_line(f"{tool.name} {step.summary}"),
            tool.read_only,
            run=lambda: _catch(step.run),
            intent=step.intent,
            needs_checkpoint=not tool.repeatable and step.intent is None,
        )

    def prepare_interrupted(self, call: ToolCall, intent: Intent | None) -> PreparedCall:
        tool = self._tools.get(call.name)
        if tool and intent:
            outcome = _catch(lambda: outcome_of_change(intent, tool.past_tense, self._context))
            if outcome:
                return PreparedCall(_one_line(f"{tool.name} {intent.path}"), tool.read_only, run=lambda: outcome)
        prepared = self.prepare(call)
        if prepared.needs_checkpoint:
            return replace(prepared, run=lambda: NOT_RUN_AGAIN, needs_checkpoint=False)
        return prepared


def _catch(action: Callable[[], Result]) -> Result | ToolOutcome:
    """Return what ``action`` returns, or an outcome that tells the model why it failed.

    Errors that end a run (a canceled question, a broken workspace) pass through. So does an error of the machine,
    such as a full disk: no model can fix it, and the call is prepared again when the run is resumed.
    """
    try:
        result = action()
    except (ToolError, FileRefused) as refusal:
        return _error(str(refusal))
    except AutorouteError:
        raise
    except OSError as error:
        if failure := map_resource_error(error):
            raise failure from None
        return _error(f"{error.filename or 'the operation'}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - the tool boundary: a bug of ours must not end the conversation
        return _error(
            f"the tool failed with {type(error).__name__}: this is a bug in autoroute, not in the call; try another way"
        )
    if isinstance(result, ToolOutcome):
        return replace(result, text=_encodable(result.text))
    return result


def _error(text: str) -> ToolOutcome:
    return ToolOutcome(_encodable(text), is_error=True)


def _one_line(text: str) -> str:
    return truncate(_SPACE_AND_CONTROLS.sub(" ", _encodable(text)).strip(), _MAX_SUMMARY_CHARACTERS)


def _encodable(text: str) -> str:
    """Return the text with lone surrogates replaced: they stand for bytes of file names and cannot be sent as UTF-8."""
    return _LONE_SURROGATES.sub("\ufffd", text)

"""A spec folder of Auto-Claude (``.auto-claude/specs/NNN-slug/``), read as it is.

    spec.md, requirements.json   -> the task's text
    task_metadata.json           -> [phases]: a model, a provider and an effort for each phase

The files are another program's: keys that are not known here are left alone. What is known and wrong is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoroute.config.taskfile import TaskFile, decode, first_line, heading, one_line, read_bytes
from autoroute.errors import TaskError
from autoroute.parsing import Unreadable, describe_type, read_object
from autoroute.routing import Phase

_SPEC = "spec.md"
_REQUIREMENTS = "requirements.json"
_METADATA = "task_metadata.json"
_FILES = (_SPEC, _REQUIREMENTS, _METADATA)

_SHORT = MappingProxyType(
    {
        "opus": ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
        # The same model with its window of a million tokens, which is its ordinary one by now.
        "opus-1m": ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
        "sonnet": ("sonnet", "ANTHROPIC_DEFAULT_SONNET_MODEL"),
        "haiku": ("haiku", "ANTHROPIC_DEFAULT_HAIKU_MODEL"),
    }
)
"""Short name -> our alias, and the variable that may replace it. A name with a number (opus-4.5) is pinned in both."""

_BY_LOGIN = ("claude", "claude-code")
_PROVIDERS = MappingProxyType(
    {
        "claude": "anthropic",
        "claude-code": "anthropic",
        "anthropic": "anthropic",
        "z.ai": "zai",
        "zai": "zai",
        "glm": "zai",
        "zhipu": "zai",
        "codex": "openai",
        "openai": "openai",
        "gemini": "google",
        "google": "google",
        "kimi": "moonshot",
        "moonshotai": "moonshot",
        "moonshot": "moonshot",
        "amazon-bedrock": "bedrock",
    }
)
"""Provider, as Auto-Claude and its forks write it -> ours. Any other name is kept, for the usual error to judge."""

_EFFORTS = MappingProxyType(
    {
        "none": "",
        "low": "low",
        "medium": "medium",
        "high": "high",
        "xhigh": "high",
        "max": "high",
        "ultrathink": "high",
    }
)
_NO_REQUIREMENT = frozenset({"created_at", "updated_at"})


def read_spec_folder(path: Path, name: str, environ: Mapping[str, str]) -> TaskFile:
    """Read the folder; raises ``TaskError`` naming the file, and the line or the key in it."""
    name = name.rstrip("/") or name
    spec, requirements, metadata = (_text(path / file, f"{name}/{file}") for file in _FILES)
    if spec is None and requirements is None and metadata is None:
        raise TaskError(
            f"{name} is a folder, and no spec folder of Auto-Claude: it has none of {', '.join(_FILES)}",
            hint="name a Markdown file that says what is to be done, or .auto-claude/specs/NNN-slug",
        )
    spec = (spec or "").strip()
    required = _table(requirements, f"{name}/{_REQUIREMENTS}")
    body = "\n\n".join([*([spec] if spec else []), *_sections(required)])
    if not body:
        raise TaskError(
            f"{name} does not say what is to be done: there is no text in {_SPEC} or {_REQUIREMENTS}",
            hint=f"write it in {name}/{_SPEC}",
        )
    settings = _settings(_table(metadata, f"{name}/{_METADATA}"), f"{name}/{_METADATA}", environ)
    title = _title(spec, required, path.resolve().name)
    return TaskFile.of(title, body, name, settings, path.resolve())


def _text(path: Path, name: str) -> str | None:
    data = read_bytes(path, name)
    if data is None:
        return None
    if path.is_symlink():
        # The folder may come with a repository: it must not bring another file of yours to a model.
        raise TaskError(f"{name} is a symbolic link", hint="put the file itself there")
    return decode(data, name)


def _table(text: str | None, name: str) -> dict[str, Any]:
    """A file's JSON object; empty without the file."""
    if text is None:
        return {}
    try:
        return read_object(text)
    except Unreadable as error:
        raise TaskError(f"{name} is {error}") from None


def _sections(required: Mapping[str, Any]) -> Iterator[str]:
    """Each requirement that is text or a list of text, under a heading made of its key; the task itself first."""
    for key in sorted(required, key=lambda key: key != "task_description"):
        value = required[key]
        if isinstance(value, str):
            words = _sound(value).strip()
        elif isinstance(value, list):
            items = (_sound(item).strip() for item in value if isinstance(item, str))
            words = "\n".join("- " + item.replace("\n", "\n  ") for item in items if item)
        else:
            continue
        if words and key not in _NO_REQUIREMENT:
            yield f"## {_words(key)}\n\n{words}"


def _title(spec: str, required: Mapping[str, Any], slug: str) -> str:
    """The spec's heading, else the first line of the task's description, else the folder's name without its number."""
    description = required.get("task_description")
    described = first_line(description).lstrip("# ") if isinstance(description, str) else ""
    headed = re.sub(r"^spec(ification)?:\s*", "", heading(spec), flags=re.IGNORECASE)
    return one_line(headed) or one_line(described) or _words(re.sub(r"^\d+-", "", slug))


def _words(key: str) -> str:
    """``acceptance_criteria`` as ``Acceptance criteria``."""
    words = one_line(re.sub(r"[_-]+", " ", key))
    return words[:1].upper() + words[1:] or "Task"


def _sound(text: str) -> str:
    r"""JSON can say half a character (``\ud800``), which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _settings(metadata: Mapping[str, Any], name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """``[phases]`` of a task. What the metadata leave open stays open."""
    models = _by_phase(metadata, "phaseModels", "model", name)
    providers = _by_phase(metadata, "phaseProviders", "provider", name)
    levels = _by_phase(metadata, "phaseThinking", "thinkingLevel", name)
    phases: dict[str, dict[str, str]] = {}
    for phase in Phase:
        chosen = {}
        _, model = models[phase]
        key, provider = providers[phase]
        # A provider for just this phase without a model is a route that lacks something, and the usual error says so;
        # the provider of all phases is only where their models are.
        if model or (provider and key != "provider"):
            chosen["model"] = _route(model, provider, environ)
        key, level = levels[phase]
        if level:
            if level.lower() not in _EFFORTS:
                raise TaskError(f"{name}: {key} is {level[:80]!r}", hint=f"there are {', '.join(_EFFORTS)}")
            chosen["effort"] = _EFFORTS[level.lower()]
        if chosen:
            phases[phase.value] = chosen
    return {"phases": phases} if phases else {}


def _by_phase(metadata: Mapping[str, Any], table: str, single: str, name: str) -> dict[Phase, tuple[str, str]]:
    """For each phase the key that decides, and its value: the phase's own, else the one for all; "" for neither."""
    own = metadata.get(table)
    if own is not None and not isinstance(own, dict):
        raise TaskError(f"{name}: {table} must be an object with a text for each phase, not {describe_type(own)}")
    for_all = _word(metadata.get(single), single, name)
    found = {phase: _word((own or {}).get(phase.value), f"{table}.{phase}", name) for phase in Phase}
    return {phase: (f"{table}.{phase}", value) if value else (single, for_all) for phase, value in found.items()}


def _word(value: Any, key: str, name: str) -> str:
    if value is not None and not isinstance(value, str):
        raise TaskError(f"{name}: {key} must be text, not {describe_type(value)}")
    return (value or "").strip()


def _route(model: str, provider: str, environ: Mapping[str, str]) -> str:
    """A route as one writes it: an alias, or ``provider/model``."""
    alias, variable = _SHORT.get(model, (model, ""))
    replaced = environ.get(variable, "").strip() if variable else ""
    if provider.lower() in _BY_LOGIN and alias and not replaced and not re.search("^claude-|/", alias):
        return alias  # a login if there is one, else a key: which is for a bare name to find out
    provider = _PROVIDERS.get(provider.lower(), provider)
    if not provider and (replaced or alias.startswith("claude-")):
        # An exact id, which the catalog need not list. Without a provider, Auto-Claude sends it to Anthropic.
        provider = "anthropic"
    model = replaced or alias
    return f"{provider}/{model}" if provider else model

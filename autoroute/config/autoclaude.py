"""A spec folder of Auto-Claude (``.auto-claude/specs/NNN-slug/``), read as a task.

    spec.md, requirements.json   -> the task's text
    task_metadata.json           -> [phases]: a model, a provider and an effort for each phase

The files belong to another program, so unknown keys are ignored. A known key with a wrong value is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoroute.config.taskfile import TaskFile, decode, find_first_line, find_heading, read_bytes, to_title
from autoroute.errors import TaskError
from autoroute.parsing import Unreadable, describe_type, read_object
from autoroute.routing import Phase

_SPEC = "spec.md"
_REQUIREMENTS = "requirements.json"
_METADATA = "task_metadata.json"
_FILES = (_SPEC, _REQUIREMENTS, _METADATA)

_ALIASES = MappingProxyType(
    {
        "opus": ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
        # Opus with a context window of a million tokens, which has become its standard window.
        "opus-1m": ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
        "sonnet": ("sonnet", "ANTHROPIC_DEFAULT_SONNET_MODEL"),
        "haiku": ("haiku", "ANTHROPIC_DEFAULT_HAIKU_MODEL"),
    }
)
"""Short name -> our alias, and the variable that may replace it. A name with a number (opus-4.5) names one version."""

_LOGIN_PROVIDERS = ("claude", "claude-code")
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
"""Provider as Auto-Claude and its forks write it -> ours. Other names are kept, for the catalog to judge."""

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
_IGNORED_KEYS = frozenset({"created_at", "updated_at"})


def read_spec_folder(path: Path, name: str, environ: Mapping[str, str]) -> TaskFile:
    """Read the folder, a path without links. Raises ``TaskError`` with the file, and the line or the key in it."""
    name = name.rstrip("/") or name
    spec, requirements, metadata = (_read_file(path / file, f"{name}/{file}") for file in _FILES)
    if spec is None and requirements is None and metadata is None:
        raise TaskError(
            f"{name} is a folder, but not a spec folder of Auto-Claude: it has none of {', '.join(_FILES)}",
            hint="pass a Markdown file that describes the task, or .auto-claude/specs/NNN-slug",
        )
    spec = (spec or "").strip()
    required = _parse_object(requirements, f"{name}/{_REQUIREMENTS}")
    body = "\n\n".join([*([spec] if spec else []), *_format_sections(required)])
    if not body:
        raise TaskError(
            f"{name} has no task: {_SPEC} and {_REQUIREMENTS} contain no text",
            hint=f"describe the task in {name}/{_SPEC}",
        )
    settings = _read_settings(_parse_object(metadata, f"{name}/{_METADATA}"), f"{name}/{_METADATA}", environ)
    title = _choose_title(spec, required, path.name)
    return TaskFile.from_text(title, body, name, settings, path)


def _read_file(path: Path, name: str) -> str | None:
    if path.is_symlink():
        # The folder may come with a repository: a link could send another file of the user to a model.
        raise TaskError(f"{name} is a symbolic link", hint="replace it with the file itself")
    data = read_bytes(path, name)
    return None if data is None else decode(data, name)


def _parse_object(text: str | None, name: str) -> dict[str, Any]:
    """Return the JSON object of a file's text, empty for a missing file."""
    if text is None:
        return {}
    try:
        return read_object(text)
    except Unreadable as error:
        raise TaskError(f"{name} is {error}") from None


def _format_sections(required: Mapping[str, Any]) -> Iterator[str]:
    """Yield each requirement that is text or a list of text, under a heading of its key; the task itself first."""
    for key in sorted(required, key=lambda key: key != "task_description"):
        value = required[key]
        if isinstance(value, str):
            text = _replace_surrogates(value).strip()
        elif isinstance(value, list):
            items = (_replace_surrogates(item).strip() for item in value if isinstance(item, str))
            text = "\n".join("- " + item.replace("\n", "\n  ") for item in items if item)
        else:
            continue
        if text and key not in _IGNORED_KEYS:
            yield f"## {_heading_of(key)}\n\n{text}"


def _choose_title(spec: str, required: Mapping[str, Any], slug: str) -> str:
    """Return the spec's heading, else the first line of the description, else the folder's name without its number."""
    description = required.get("task_description")
    from_description = find_first_line(description).lstrip("# ") if isinstance(description, str) else ""
    from_heading = re.sub(r"^spec(ification)?:\s*", "", find_heading(spec), flags=re.IGNORECASE)
    return to_title(from_heading) or to_title(from_description) or _heading_of(re.sub(r"^\d+-", "", slug))


def _heading_of(key: str) -> str:
    """Return ``acceptance_criteria`` as ``Acceptance criteria``."""
    heading = to_title(re.sub(r"[_-]+", " ", key))
    return heading[:1].upper() + heading[1:] or "Task"


def _replace_surrogates(text: str) -> str:
    r"""Replace lone surrogates (``\ud800``): JSON can write them, and UTF-8 cannot encode them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _read_settings(metadata: Mapping[str, Any], name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata as ``[phases]`` of a task. Values that the metadata do not set stay unset."""
    models = _read_by_phase(metadata, "phaseModels", "model", name)
    providers = _read_by_phase(metadata, "phaseProviders", "provider", name)
    levels = _read_by_phase(metadata, "phaseThinking", "thinkingLevel", name)
    phases: dict[str, dict[str, str]] = {}
    for phase in Phase:
        chosen = {}
        _, model = models[phase]
        key, provider = providers[phase]
        # A provider of this phase alone needs a model, and the usual error says that it lacks one. The provider of all
        # phases only completes their models.
        if model or (provider and key != "provider"):
            chosen["model"] = _build_route(model, provider, environ)
        key, level = levels[phase]
        if level:
            if level.lower() not in _EFFORTS:
                raise TaskError(f"{name}: unknown level {level[:80]!r} in {key}", hint=f"use {', '.join(_EFFORTS)}")
            chosen["effort"] = _EFFORTS[level.lower()]
        if chosen:
            phases[phase.value] = chosen
    return {"phases": phases} if phases else {}


def _read_by_phase(metadata: Mapping[str, Any], table: str, single: str, name: str) -> dict[Phase, tuple[str, str]]:
    """Return the key and value that apply to each phase: the phase's own, else those for all; "" without a value."""
    by_phase = metadata.get(table)
    if by_phase is not None and not isinstance(by_phase, dict):
        raise TaskError(f"{name}: {table} must be an object with a text per phase, not {describe_type(by_phase)}")
    for_all = _read_text(metadata.get(single), single, name)
    values = {phase: _read_text((by_phase or {}).get(phase.value), f"{table}.{phase}", name) for phase in Phase}
    return {phase: (f"{table}.{phase}", value) if value else (single, for_all) for phase, value in values.items()}


def _read_text(value: Any, key: str, name: str) -> str:
    if value is not None and not isinstance(value, str):
        raise TaskError(f"{name}: {key} must be text, not {describe_type(value)}")
    return (value or "").strip()


def _build_route(model: str, provider: str, environ: Mapping[str, str]) -> str:
    """Return a route in autoroute's form: an alias, or ``provider/model``."""
    alias, variable = _ALIASES.get(model, (model, ""))
    replaced = environ.get(variable, "").strip() if variable else ""
    if provider.lower() in _LOGIN_PROVIDERS and alias and not replaced and not re.search("^claude-|/", alias):
        return alias  # without a provider, so that a login is used if there is one, else a key
    provider = _PROVIDERS.get(provider.lower(), provider)
    if not provider and (replaced or alias.startswith("claude-")):
        # An exact id, which the catalog may not list. Auto-Claude sends it to Anthropic.
        provider = "anthropic"
    model = replaced or alias
    return f"{provider}/{model}" if provider else model

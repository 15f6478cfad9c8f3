"""Layers of settings: reading them, checking them, and telling where each value came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from autoroute.config.settings import LayerSettings, PhaseSettings, PhasesSettings
from autoroute.errors import AutorouteError, ConfigError, UsageError
from autoroute.parsing import Unreadable, read_toml
from autoroute.phases import find_phase
from autoroute.providers.claude_profiles import ClaudeSettings
from autoroute.regular_files import read_file
from autoroute.routing import (
    Budget,
    Canary,
    Clocks,
    Limits,
    RecoverySettings,
    SandboxSettings,
    VerifySettings,
    WorkspaceSettings,
)
from autoroute.text import did_you_mean

_MAX_FILE_BYTES = 256 * 1024
_MAX_WHERE_CHARACTERS = 300
_MAX_VALUE_CHARACTERS = 80
_VARIABLE_PREFIX = "AUTOROUTE_"
_OTHER_VARIABLES = frozenset({"AUTOROUTE_CONFIG", "AUTOROUTE_COMMAND"})
_KEYS_OF_TABLE: Mapping[tuple[str, ...], Sequence[str]] = {
    (): list(LayerSettings.model_fields),
    ("phases",): list(PhasesSettings.model_fields),
    ("limits",): list(Limits.model_fields),
    ("budget",): list(Budget.model_fields),
    ("clocks",): list(Clocks.model_fields),
    ("recovery",): list(RecoverySettings.model_fields),
    ("sandbox",): list(SandboxSettings.model_fields),
    ("workspace",): list(WorkspaceSettings.model_fields),
    ("verify",): list(VerifySettings.model_fields),
    ("claude",): list(ClaudeSettings.model_fields),
}
# All other tables are refused. With a base URL of its own, a repository could receive the user's key: so it was in
# Claude Code before 2.0.65 (CVE-2026-21852).
_TABLES_OF_A_REPOSITORY = frozenset({"phases", "limits", "budget", "gates", "verify"})
_TOP_LEVEL_KEYS = frozenset({"served_model", "gates"})
"""Settings outside any table."""
_BUDGET_KEYS = ("budget_usd", "budget_tokens")
_LIST_KEYS = ("fallback", "gates", "order", "readable", "variables", "setup_variables")
_NUMBER_KEYS = (*_BUDGET_KEYS, "processes", "memory", "file_size", "setup_cache")
_BOOLEAN_KEYS = ("allow_paid", "auto_switch", "baseline")
_STRICTNESS = (False, True, *get_args(Canary))
"""Values of ``[verify]``, each stricter than those of its kind before it."""
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one source. ``trusted`` is false for files that come with a repository.

    ``name`` is ``flag``, ``environment``, or the name of a file.
    """

    name: str
    data: Mapping[str, Any]
    trusted: bool = True

    def source(self, path: Sequence[str]) -> str:
        """Return where the value at ``path`` came from, for messages: ``--plan``, a variable, or a file."""
        if self.name == "flag":
            row = find_phase(path[1]) if len(path) > 1 else None
            flag = {"gates": "gate", "mode": "sandbox"}.get(path[-1], path[-1]).replace("_", "-")
            return f"--{row.flag if row and path[-1] == 'model' else flag}"
        if self.name == "environment":
            return f"{_VARIABLE_PREFIX}{'__'.join(path).upper()}"
        return self.name


def read_settings_file(path: Path, name: str, *, trusted: bool, required: bool) -> Layer:
    """Read a TOML file as a layer, which is empty if the file is missing and not required.

    Raises ``ConfigError`` with the file, and with the line of a syntax error.
    """
    try:
        data = read_file(path, _MAX_FILE_BYTES, follow_links=True)
        return Layer(name, read_toml(data.decode("utf-8")), trusted)
    except FileNotFoundError:
        if required:
            raise ConfigError(f"settings file not found: {path}") from None
        return Layer(name, {}, trusted)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})") from None
    except Unreadable as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValueError as error:  # a name that no file can have
        raise ConfigError(f"{path} cannot be read: {error}") from None


def read_environment_layer(environ: Mapping[str, str]) -> Layer:
    """Read variables such as ``AUTOROUTE_PHASES__CODING__MODEL=glm-4.7`` as a layer.

    Raises ``ConfigError`` for a variable that begins with ``AUTOROUTE_`` and does not name a setting.
    """
    data: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(_VARIABLE_PREFIX) or name in _OTHER_VARIABLES:
            continue
        path = [part.lower() for part in name.removeprefix(_VARIABLE_PREFIX).split("__")]
        in_table = len(path) > 1 and path[0] not in _TOP_LEVEL_KEYS
        alone = len(path) == 1 and path[0] in _TOP_LEVEL_KEYS
        if not (in_table or alone) or not all(path) or path[0] not in _KEYS_OF_TABLE[()] or path[0] == "providers":
            raise ConfigError(
                f"{name}: unknown setting", hint="name a table and a key, as in AUTOROUTE_PHASES__CODING__MODEL"
            )
        table = data
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {part} is set both as a value and as a table")
        table[path[-1]] = _parse_value(path, value)
    return Layer("environment", data)


def _parse_value(path: Sequence[str], text: str) -> Any:
    """Parse the value of a variable: a number, a list or a boolean where the setting is one, else text."""
    if path[-1] in _BOOLEAN_KEYS:
        return _BOOLEANS.get(text.lower(), text)
    is_number = path[0] in ("limits", "clocks", "budget") or path[-1] in _NUMBER_KEYS or path[-1].endswith("_threshold")
    if is_number and re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    return [part.strip() for part in text.split(",") if part.strip()] if path[-1] in _LIST_KEYS else text


def check_layer(layer: Layer, user_settings: LayerSettings, user_file: Path) -> Layer:
    """Validate a layer, and return it with phases under their full names (``planning``, not ``plan``).

    A layer of the repository may lower the limits of ``user_settings`` and not raise them. Raises ``ConfigError``, or
    ``UsageError`` for a flag, with the source, the key and what to do.
    """
    if not layer.trusted:
        _check_trust(layer, user_file)
    layer = Layer(layer.name, _rename_phases(layer), layer.trusted)
    try:
        settings = LayerSettings.model_validate(dict(layer.data))
    except ValidationError as error:
        raise _describe_error(layer, error) from None
    if not layer.trusted:
        for path in _list_paths({key: layer.data[key] for key in _TABLES_OF_A_REPOSITORY if key in layer.data}):
            _check_limit(layer, path, _get(settings, path), _get(user_settings, path), user_file)
    return layer


def _check_limit(layer: Layer, path: Sequence[str], value: Any, user_value: Any, user_file: Path) -> None:
    if path[0] == "verify" and _STRICTNESS.index(value) < _STRICTNESS.index(user_value):
        raise ConfigError(
            f"{layer.name}: {'.'.join(path)} = {_show(value)} is less strict than your own {_show(user_value)}; "
            "a repository may only make it stricter",
            hint=f"change it in {user_file}",
        )
    is_limit = path[0] in ("limits", "budget") or path[-1] in _BUDGET_KEYS
    if is_limit and value is not None and user_value is not None and value > user_value:
        raise ConfigError(
            f"{layer.name}: {'.'.join(path)} = {value} exceeds your own limit of {user_value}; "
            "a repository may only lower it",
            hint=f"raise it in {user_file}",
        )


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


def _get(settings: Any, path: Sequence[str]) -> Any:
    for part in path:
        settings = getattr(settings, part, None)
    return settings


def _check_trust(layer: Layer, user_file: Path) -> None:
    for key, value in layer.data.items():
        if key in _TABLES_OF_A_REPOSITORY or key not in LayerSettings.model_fields:
            continue
        path = ".".join([key, *next(_list_paths(value), ())])
        raise ConfigError(
            f"{layer.name}: {path} may not be set in a file of the repository: "
            "it could send your keys elsewhere or weaken the sandbox",
            hint=f"to use it, set it in {user_file}",
        )


def _rename_phases(layer: Layer) -> dict[str, Any]:
    """Return the data with ``[phases.plan]`` as ``[phases.planning]``: the names of flags are accepted too."""
    phases = layer.data.get("phases")
    if not isinstance(phases, dict):
        return dict(layer.data)
    renamed: dict[str, Any] = {}
    for key, value in phases.items():
        row = find_phase(key)
        name = row.phase.value if row else key
        if name in renamed:
            raise ConfigError(f"{layer.name}: phases.{key} and phases.{name} are the same phase")
        renamed[name] = value
    return {**layer.data, "phases": renamed}


def _describe_error(layer: Layer, error: ValidationError) -> AutorouteError:
    """Return pydantic's first error as ``ConfigError``, or as ``UsageError`` for a flag."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where = layer.source(path) if layer.name in ("flag", "environment") else f"{layer.name}: {'.'.join(path)}"
    # The path may come from a file of the repository: it must not send escape sequences to the terminal.
    where = "".join(character if character.isprintable() else "\ufffd" for character in where)[:_MAX_WHERE_CHARACTERS]
    if first["type"] == "extra_forbidden":
        known = _KEYS_OF_TABLE.get(tuple(path[:-1]), list(PhaseSettings.model_fields))
        hint = did_you_mean(path[-1], known, limit=1, otherwise=f"known settings: {', '.join(known)}")
        return ConfigError(f"{where}: unknown setting", hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    message = f": {message[:1].lower()}{message[1:]}".replace(": input should", " should", 1)
    value = first["input"]
    # A value under providers may be an API key, so it is never shown.
    is_short = isinstance(value, str | int | float) and len(str(value)) < _MAX_VALUE_CHARACTERS
    if is_short and path[:1] != ["providers"] and repr(value) not in message:
        message += f", not {value!r}"
    choices = re.findall(r"'([^']*)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
    kind = UsageError if layer.name == "flag" else ConfigError
    return kind(f"{where}{message}", hint=did_you_mean(str(value), filter(None, choices), limit=1))


def _list_paths(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all values in nested tables."""
    if not isinstance(value, Mapping):
        yield ()
        return
    for key, inner in value.items():
        yield from ((key, *path) for path in _list_paths(inner))


def find_sources(layers: Sequence[Layer]) -> dict[str, str]:
    """Return where the value of each key came from, for every dotted key that a layer sets."""
    return {".".join(path): layer.source(path) for layer in layers for path in _list_paths(layer.data) if path}

"""The layers of settings: where each value came from, and what a repository may not set."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoroute.config.settings import PhaseSettings, PhasesSettings, Tables
from autoroute.errors import AutorouteError, ConfigError, UsageError
from autoroute.parsing import Unreadable, read_toml
from autoroute.phases import by_name
from autoroute.providers.claude_profiles import ClaudeSettings
from autoroute.routing import Budget, Clocks, Limits, RecoverySettings, SandboxSettings
from autoroute.text import did_you_mean

_MAX_BYTES = 256 * 1024
_PREFIX = "AUTOROUTE_"
_RESERVED = frozenset({"AUTOROUTE_CONFIG", "AUTOROUTE_COMMAND"})
_KNOWN: Mapping[tuple[str, ...], Sequence[str]] = {
    (): list(Tables.model_fields),
    ("phases",): list(PhasesSettings.model_fields),
    ("limits",): list(Limits.model_fields),
    ("budget",): list(Budget.model_fields),
    ("clocks",): list(Clocks.model_fields),
    ("recovery",): list(RecoverySettings.model_fields),
    ("sandbox",): list(SandboxSettings.model_fields),
    ("claude",): list(ClaudeSettings.model_fields),
}
_OF_A_REPOSITORY = frozenset({"phases", "limits", "budget", "gates"})
_SCALARS = frozenset({"served_model", "gates"})
"""Settings that stand in no table."""
_BUDGETS = ("budget_usd", "budget_tokens")
_LISTS = ("fallback", "gates", "order", "readable", "variables")
_NUMBERS = (*_BUDGETS, "processes", "memory", "file_size")
_TRUE_OR_FALSE = ("allow_paid", "auto_switch")
_TRUTHS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place. ``trusted`` is false for what comes with a repository."""

    place: str
    data: Mapping[str, Any]
    trusted: bool = True

    def source(self, path: Sequence[str]) -> str:
        """How people are told where the value at ``path`` came from."""
        if self.place == "flag":
            row = by_name(path[1]) if len(path) > 1 else None
            name = {"gates": "gate", "mode": "sandbox"}.get(path[-1], path[-1]).replace("_", "-")
            return f"flag --{row.flag if row and path[-1] == 'model' else name}"
        if self.place == "environment":
            return f"env {_PREFIX}{'__'.join(path).upper()}"
        return self.place


def read_file(path: Path, place: str, *, trusted: bool, required: bool) -> Layer:
    """A TOML file as a layer; empty when it is not there and need not be. Raises ``ConfigError`` with file and line."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if required:
            raise ConfigError(f"there is no file {path}") from None
        return Layer(place, {}, trusted)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"{path} is longer than {_MAX_BYTES // 1024} KiB")
        return Layer(place, read_toml(data.decode("utf-8")), trusted)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})") from None
    except Unreadable as error:
        raise ConfigError(f"{path}: {error}") from None


def read_environment(environ: Mapping[str, str]) -> Layer:
    """``AUTOROUTE_PHASES__CODING__MODEL=glm-4.7`` and its like; a variable that is no setting is an error."""
    data: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(_PREFIX) or name in _RESERVED:
            continue
        path = [part.lower() for part in name.removeprefix(_PREFIX).split("__")]
        in_table = len(path) > 1 and path[0] not in _SCALARS
        alone = len(path) == 1 and path[0] in _SCALARS
        if not (in_table or alone) or not all(path) or path[0] not in _KNOWN[()] or path[0] == "providers":
            raise ConfigError(f"{name} is no setting of autoroute", hint="AUTOROUTE_PHASES__CODING__MODEL, for example")
        table = data
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {part} is set as a value and as a table")
        table[path[-1]] = _value(path, value)
    return Layer("environment", data)


def _value(path: Sequence[str], text: str) -> Any:
    """A number, a list or a truth where one belongs; everything else is text."""
    if path[-1] in _TRUE_OR_FALSE:
        return _TRUTHS.get(text.lower(), text)
    is_number = path[0] in ("limits", "clocks", "budget") or path[-1] in _NUMBERS or path[-1].endswith("_threshold")
    if is_number and re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    return [part.strip() for part in text.split(",") if part.strip()] if path[-1] in _LISTS else text


def check(layer: Layer, below: Tables, user_file: Path) -> Layer:
    """The layer with phases under their own names; raises ``ConfigError`` naming its place, the key and the mend.

    ``below`` are the user's own settings, of which a repository may lower the bounds.
    """
    if not layer.trusted:
        _check_trust(layer, user_file)
    layer = Layer(layer.place, _named(layer), layer.trusted)
    try:
        tables = Tables.model_validate(dict(layer.data))
    except ValidationError as error:
        raise _complaint(layer, error) from None
    if not layer.trusted:
        for path in _leaves({key: layer.data[key] for key in _OF_A_REPOSITORY if key in layer.data}):
            _check_bound(layer, path, _at(tables, path), _at(below, path), user_file)
    return layer


def _check_bound(layer: Layer, path: Sequence[str], value: Any, own: Any, user_file: Path) -> None:
    is_bound = path[0] in ("limits", "budget") or path[-1] in _BUDGETS
    if is_bound and value is not None and own is not None and value > own:
        raise ConfigError(
            f"{layer.place}: {'.'.join(path)} = {value} is more than your own {own}; a repository may only lower it",
            hint=f"raise it in {user_file}",
        )


def _at(tables: Any, path: Sequence[str]) -> Any:
    for part in path:
        tables = getattr(tables, part, None)
    return tables


def _check_trust(layer: Layer, user_file: Path) -> None:
    for key, value in layer.data.items():
        if key in _OF_A_REPOSITORY or key not in Tables.model_fields:
            continue
        path = ".".join([key, *next(_leaves(value), ())])
        raise ConfigError(
            f"{layer.place}: {path} may not be set by what comes with a repository: "
            "it could send your keys elsewhere, or let commands out",
            hint=f"if you want it, put it in {user_file}",
        )


def _named(layer: Layer) -> dict[str, Any]:
    """``[phases.plan]`` is ``[phases.planning]``, as on the command line."""
    phases = layer.data.get("phases")
    if not isinstance(phases, dict):
        return dict(layer.data)
    named: dict[str, Any] = {}
    for key, value in phases.items():
        row = by_name(key)
        name = row.phase.value if row else key
        if name in named:
            raise ConfigError(f"{layer.place}: phases.{key} and phases.{name} are the same phase")
        named[name] = value
    return {**layer.data, "phases": named}


def _complaint(layer: Layer, error: ValidationError) -> AutorouteError:
    """The first of pydantic's complaints, with the place it is about; what a flag says wrong is a ``UsageError``."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where = layer.source(path) if layer.place in ("flag", "environment") else f"{layer.place}: {'.'.join(path)}"
    where = "".join(character if character.isprintable() else "\ufffd" for character in where)[:300]
    if first["type"] == "extra_forbidden":
        known = _KNOWN.get(tuple(path[:-1]), list(PhaseSettings.model_fields))
        hint = did_you_mean(path[-1], known, limit=1, otherwise=f"there are {', '.join(known)}")
        return ConfigError(f"{where}: no such setting", hint=hint)
    words = first["msg"].removeprefix("Value error, ")
    words = words[:1].lower() + words[1:]
    found = first["input"]
    # What stands under providers may be a key.
    shown = isinstance(found, str | int | float) and len(str(found)) < 80 and path[:1] != ["providers"]
    words += f", not {found!r}" if shown and repr(found) not in words else ""
    choices = re.findall(r"'([^']*)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
    kind = UsageError if layer.place == "flag" else ConfigError
    return kind(f"{where}: {words}", hint=did_you_mean(str(found), filter(None, choices), limit=1))


def _leaves(value: Any) -> Iterator[tuple[str, ...]]:
    """The paths of all values in a table."""
    if not isinstance(value, Mapping):
        yield ()
        return
    for key, inner in value.items():
        yield from ((key, *path) for path in _leaves(inner))


def sources(layers: Sequence[Layer]) -> dict[str, str]:
    """Dotted key -> where its value came from, for every key that a layer sets."""
    return {".".join(path): layer.source(path) for layer in layers for path in _leaves(layer.data) if path}

"""``autoroute.lock``: what the names in a routing meant when it was locked, so that a run can refuse to mean another.

[[routes]]
phase = "coding"              place = 0                     the primary, then the fallbacks
requested = "glm-4.7"         provider = "zai"              model = "glm-4.7"
endpoint = "https://api.z.ai/api/anthropic"                 wire = "anthropic-messages"
runner = "claude-code"        where it is not our own loop
effort, context, max_output, tools, price                   as far as they are known
probed = "2026-11-23"         when it was last found to call tools; never compared
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoroute.atomic import replace_file
from autoroute.errors import ConfigError, WorkspaceError
from autoroute.parsing import read_toml
from autoroute.preflight.probe_cache import ProbeCache
from autoroute.providers.catalog import Catalog
from autoroute.routing import RunConfig

LOCK_FILE = "autoroute.lock"

_VERSION = 1
_HEAD = "# Written by `autoroute lock`; `autoroute run --locked` refuses a routing that means anything else.\n"
_MAX_BYTES = 256 * 1024
_NOT_COMPARED = "probed"

Row = dict[str, Any]


def lock_rows(config: RunConfig, catalog: Catalog, verdicts: ProbeCache) -> list[Row]:
    """What the routing means now, a row for each route of each phase."""
    rows = []
    for phase, routing in config.phases.items():
        for place, route in enumerate((routing.primary, *routing.fallbacks)):
            profile = config.profile(route)
            facts = catalog.resolve(f"{route.provider}/{route.model}").facts
            probed = verdicts.holds(profile, route)
            row = {
                "phase": phase.value,
                "place": place,
                "requested": route.requested,
                "provider": route.provider,
                "model": route.model,
                "endpoint": profile.base_url,
                "wire": profile.wire,
                "runner": profile.runner if profile.runner != "native" else None,
                "effort": route.effort,
                "context": route.context,
                "max_output": route.max_output,
                "tools": route.tools,
                "price": facts.price.model_dump(exclude_none=True) if facts and facts.price else None,
                _NOT_COMPARED: probed.date().isoformat() if probed else None,
            }
            rows.append({key: value for key, value in row.items() if value is not None})
    return rows


def write_lock(path: Path, rows: list[Row]) -> None:
    """Write the lock. Raises ``WorkspaceError``."""
    import tomli_w

    try:
        replace_file(path, (_HEAD + tomli_w.dumps({"version": _VERSION, "routes": rows})).encode(), mode=0o644)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}") from None


def check_lock(path: Path, rows: list[Row]) -> None:
    """Raise ``ConfigError`` naming everything in which the routing differs from its lock."""
    locked = {(row.get("phase"), row.get("place")): row for row in _read(path)}
    now = {(row["phase"], row["place"]): row for row in rows}
    differences = []
    for key in sorted({*locked, *now}, key=str):
        differences += _differences(key, locked.get(key), now.get(key))
    if differences:
        raise ConfigError(
            "\n".join([f"the routing is not the one in {path.name}:", *differences]),
            hint="autoroute lock takes the new one over, once you have looked at it",
        )


def _differences(key: tuple[Any, Any], locked: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    where = f"{key[0]}{f', fallback {key[1]}' if key[1] else ''}"
    if locked is None:
        return [f"  {where}: is not locked"]
    if now is None:
        return [f"  {where}: {locked.get('requested')} is locked and not routed"]
    names = [name for name in {**locked, **now} if name != _NOT_COMPARED and locked.get(name) != now.get(name)]
    return [f"  {where}: {name} was {_said(locked.get(name))} and is {_said(now.get(name))}" for name in names]


def _said(value: Any) -> str:
    return "not known" if value is None else str(value)[:120]


def _read(path: Path) -> list[Row]:
    try:
        data = path.read_bytes()
        table = read_toml(data.decode("utf-8")) if len(data) <= _MAX_BYTES else {}
    except FileNotFoundError:
        raise ConfigError(f"there is no {path.name} here", hint="autoroute lock") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", hint="autoroute lock") from None
    rows = table.get("routes")
    if table.get("version") != _VERSION or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path.name} is no lock of this version", hint="autoroute lock")
    return rows

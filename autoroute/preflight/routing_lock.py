"""``autoroute.lock``: what the names in a routing resolved to, so that ``run --locked`` can reject any change.

[[routes]]
phase = "coding"              place = 0                     the primary, then the fallbacks
requested = "glm-4.7"         provider = "zai"              model = "glm-4.7"
endpoint = "https://api.z.ai/api/anthropic"                 wire = "anthropic-messages"
runner = "claude-code"        unless it is autoroute's own loop
effort, context, max_output, tools, price                   if known
probed = "2026-11-23"         when it was last found to call tools; not compared
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoroute.atomic import replace_file
from autoroute.errors import ConfigError, WorkspaceError
from autoroute.parsing import read_toml
from autoroute.preflight.probe_cache import ProbeCache
from autoroute.providers.catalog import Catalog
from autoroute.regular_files import read_file
from autoroute.routing import RunConfig

LOCK_FILE = "autoroute.lock"

_FORMAT_VERSION = 1
_HEADER = "# Written by `autoroute lock`. `autoroute run --locked` rejects a routing that resolves to anything else.\n"
_MAX_LOCK_BYTES = 256 * 1024
_NOT_COMPARED = "probed"
_MAX_VALUE_CHARACTERS = 120
_WRITE_AGAIN = "write it again: autoroute lock"

Row = Mapping[str, object]
"""One route of one phase, as TOML has it."""


def lock_rows(config: RunConfig, catalog: Catalog, probe_cache: ProbeCache) -> list[Row]:
    """Return what the routing resolves to now, a row for each route of each phase."""
    rows: list[Row] = []
    for phase, routing in config.phases.items():
        for position, route in enumerate((routing.primary, *routing.fallbacks)):
            profile = config.profile(route)
            facts = catalog.resolve(f"{route.provider}/{route.model}").facts
            probed = probe_cache.last_success(profile, route)
            row = {
                "phase": phase.value,
                "place": position,
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
    """Write the lock file. Raises ``WorkspaceError``."""
    import tomli_w

    try:
        replace_file(path, (_HEADER + tomli_w.dumps({"version": _FORMAT_VERSION, "routes": rows})).encode(), mode=0o644)
    except OSError as error:
        raise WorkspaceError(f"cannot write {path}: {error.strerror}") from None


def check_lock(path: Path, rows: list[Row]) -> None:
    """Raise ``ConfigError`` with every difference between the routing and its lock."""
    locked = {(row.get("phase"), row.get("place")): row for row in _read(path)}
    now = {(row["phase"], row["place"]): row for row in rows}
    differences = []
    for key in sorted({*locked, *now}, key=str):
        differences += _differences(key, locked.get(key), now.get(key))
    if differences:
        raise ConfigError(
            "\n".join([f"the routing differs from {path.name}:", *differences]),
            hint="review the changes, then run autoroute lock to accept them",
        )


def _differences(key: tuple[object, object], locked: Row | None, now: Row | None) -> list[str]:
    where = f"{key[0]}{f', fallback {key[1]}' if key[1] else ''}"
    if locked is None:
        return [f"  {where}: not in the lock"]
    if now is None:
        return [f"  {where}: {locked.get('requested')} is in the lock, but not in the routing"]
    names = [name for name in {**locked, **now} if name != _NOT_COMPARED and locked.get(name) != now.get(name)]
    return [f"  {where}: {name} was {_format(locked.get(name))} and is now {_format(now.get(name))}" for name in names]


def _format(value: object) -> str:
    return "unknown" if value is None else str(value)[:_MAX_VALUE_CHARACTERS]


def _read(path: Path) -> list[Row]:
    try:
        # A repository brings it: a link could lead to a device that never ends.
        table = read_toml(read_file(path, _MAX_LOCK_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} not found", hint="create it: autoroute lock") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint=_WRITE_AGAIN) from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", hint=_WRITE_AGAIN) from None
    rows = table.get("routes")
    if (
        table.get("version") != _FORMAT_VERSION
        or not isinstance(rows, list)
        or not all(isinstance(row, dict) for row in rows)
    ):
        raise ConfigError(f"{path} has another format than this version of autoroute writes", hint=_WRITE_AGAIN)
    return rows

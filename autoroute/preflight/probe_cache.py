"""Successful tool probes, kept for a day in the cache folder. Failures are not kept: a fix takes effect at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from autoroute.atomic import write_private
from autoroute.routing import ProviderProfile, Route

_MAX_AGE = timedelta(days=1)


class ProbeCache:
    """A small file for each successful probe. Losing a file costs one probe, so no method raises ``OSError``."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def last_success(self, profile: ProviderProfile, route: Route) -> datetime | None:
        """Return when the route was last found to call tools; None if that is unknown or too long ago."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            at = datetime.fromisoformat(json.loads(self._path(profile, route).read_text(encoding="utf-8"))["at"])
            if timedelta() <= self._now() - at < _MAX_AGE:
                return at
        return None

    def record_success(self, profile: ProviderProfile, route: Route) -> None:
        """Remember that the route was found to call tools now."""
        path = self._path(profile, route)
        data = {"provider": route.provider, "model": route.model, "host": profile.host, "account": route.account}
        with suppress(OSError):
            write_private(path, json.dumps({**data, "at": self._now().isoformat()}) + "\n")

    def _path(self, profile: ProviderProfile, route: Route) -> Path:
        """Return a path that depends on everything that the result of a probe depends on."""
        key = [
            route.provider,
            route.model,
            profile.base_url,
            profile.wire,
            profile.runner,
            route.account,
            profile.quirks.model_dump(),
        ]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"

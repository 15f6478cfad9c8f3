"""What probes showed, kept for a day in the cache folder: only that a route was good, which nobody has to mend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from autoroute.atomic import write_private
from autoroute.routing import ProviderProfile, Route

_VALID = timedelta(days=1)


class ProbeCache:
    """A small file for each route that was good. Losing one costs a probe, so nothing here is an error."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def holds(self, profile: ProviderProfile, route: Route) -> datetime | None:
        """When the route was found to call tools, None when that is not known or too long ago."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            at = datetime.fromisoformat(json.loads(self._path(profile, route).read_text(encoding="utf-8"))["at"])
            if timedelta() <= self._now() - at < _VALID:
                return at
        return None

    def keep(self, profile: ProviderProfile, route: Route) -> None:
        """The route was good now."""
        path = self._path(profile, route)
        data = {"provider": route.provider, "model": route.model, "host": profile.host, "account": route.account}
        with suppress(OSError):
            write_private(path, json.dumps({**data, "at": self._now().isoformat()}) + "\n")

    def _path(self, profile: ProviderProfile, route: Route) -> Path:
        """By everything that the verdict is about."""
        about = [
            route.provider,
            route.model,
            profile.base_url,
            profile.wire,
            profile.runner,
            route.account,
            profile.quirks.model_dump(),
        ]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"

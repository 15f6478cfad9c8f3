"""What the checks of routes need, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from autoroute import wire
from autoroute.preflight.probe_cache import ProbeCache
from autoroute.providers.catalog import Catalog
from autoroute.providers.cooldowns import Cooldowns
from autoroute.providers.credentials import Credentials
from autoroute.providers.prices import Prices
from autoroute.routing import RunConfig


@dataclass(frozen=True, slots=True)
class PreflightServices:
    """The configuration to check, and the services that know about its routes. ``now`` returns the time in UTC."""

    config: RunConfig
    credentials: Credentials
    catalog: Catalog
    prices: Prices
    cooldowns: Cooldowns
    probe_cache: ProbeCache
    now: Callable[[], datetime]
    runner: wire.Runner | None = None

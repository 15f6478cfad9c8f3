"""The services that a run and other commands share, built from resolved settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoroute.claude.runner import ClaudeCodeRunner
    from autoroute.config.resolve import OpenRunner, ResolvedConfig
    from autoroute.preflight import Preflight
    from autoroute.providers.claude_profiles import ClaudeProfile, ClaudeSettings
    from autoroute.providers.cooldowns import Cooldowns
    from autoroute.routing import RecoverySettings


def runner_opener(environ: Mapping[str, str]) -> OpenRunner:
    """Return a function that makes the runner of the user's logins, once the settings are known."""
    return partial(open_runner, environ)


def open_runner(
    environ: Mapping[str, str], settings: ClaudeSettings, logins: Sequence[ClaudeProfile], recovery: RecoverySettings
) -> ClaudeCodeRunner:
    """Return the runner of these logins. It starts no process yet."""
    from autoroute.claude.runner import ClaudeCodeRunner
    from autoroute.config.paths import claude_folder
    from autoroute.engine.policy import SystemClock

    cooldowns = open_cooldowns(environ)
    return ClaudeCodeRunner(
        settings,
        logins,
        environ,
        claude_folder(environ),
        recovery=recovery,
        is_limited=lambda route: cooldowns.active_limit(route) is not None,
        now=SystemClock().now,
    )


def open_cooldowns(environ: Mapping[str, str]) -> Cooldowns:
    """Return the rate limits that are known on this machine."""
    from autoroute.config.paths import user_state_folder
    from autoroute.engine.policy import SystemClock
    from autoroute.providers.cooldowns import Cooldowns

    return Cooldowns(user_state_folder(environ) / "cooldowns", SystemClock().now)


def open_preflight(resolved: ResolvedConfig, environ: Mapping[str, str]) -> Preflight:
    """Return the checks for a resolved configuration."""
    from autoroute.config.paths import user_cache_folder
    from autoroute.engine.policy import SystemClock
    from autoroute.preflight import Preflight
    from autoroute.preflight.probe_cache import ProbeCache
    from autoroute.preflight.services import PreflightServices
    from autoroute.providers.prices import Prices

    now = SystemClock().now
    return Preflight(
        PreflightServices(
            resolved.config,
            resolved.credentials,
            resolved.catalog,
            Prices(resolved.catalog, resolved.profiles, resolved.billing),
            open_cooldowns(environ),
            ProbeCache(user_cache_folder(environ) / "probes", now),
            now,
            resolved.runner,
        )
    )

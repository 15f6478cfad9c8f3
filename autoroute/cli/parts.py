"""Parts of a run that other commands look at too, from what a user has set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoroute.claude.runner import ClaudeCode
    from autoroute.config.resolve import OpenRunner, ResolvedConfig
    from autoroute.preflight import Preflight
    from autoroute.providers.claude import ClaudeSettings, Profile
    from autoroute.providers.cooldowns import Cooldowns
    from autoroute.routing import RecoverySettings


def runner_opener(environ: Mapping[str, str]) -> OpenRunner:
    """What makes the runner of a user's logins, once the settings are known."""
    return partial(runner_of, environ)


def runner_of(
    environ: Mapping[str, str], settings: ClaudeSettings, logins: Sequence[Profile], recovery: RecoverySettings
) -> ClaudeCode:
    """The runner of these logins. Nothing is started yet."""
    from autoroute.claude.runner import ClaudeCode
    from autoroute.config.paths import claude_folder
    from autoroute.engine.policy import SystemClock

    cooldowns = open_cooldowns(environ)
    return ClaudeCode(
        settings,
        logins,
        environ,
        claude_folder(environ),
        recovery=recovery,
        is_limited=lambda route: cooldowns.limited(route) is not None,
        now=SystemClock().now,
    )


def open_cooldowns(environ: Mapping[str, str]) -> Cooldowns:
    """The limits that are known on this machine."""
    from autoroute.config.paths import user_state_folder
    from autoroute.engine.policy import SystemClock
    from autoroute.providers.cooldowns import Cooldowns

    return Cooldowns(user_state_folder(environ) / "cooldowns", SystemClock().now)


def open_preflight(settled: ResolvedConfig, environ: Mapping[str, str]) -> Preflight:
    """The checks for a settled configuration."""
    from autoroute.config.paths import user_cache_folder
    from autoroute.engine.policy import SystemClock
    from autoroute.preflight import Preflight
    from autoroute.preflight.verdicts import Verdicts
    from autoroute.providers.prices import Prices

    now = SystemClock().now
    return Preflight(
        settled.config,
        settled.credentials,
        settled.catalog,
        Prices(settled.catalog, settled.profiles, settled.billing),
        Verdicts(user_cache_folder(environ) / "verdicts", now),
        now,
        open_cooldowns(environ),
        settled.runner,
    )

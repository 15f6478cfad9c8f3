"""Layers -> a run's configuration with nothing left to decide, and the keys that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoroute.config.layers import Layer, check, read_environment, read_file, sources
from autoroute.config.logins import Logins
from autoroute.config.paths import (
    profile_order_file,
    refreshed_models_file,
    user_config_file,
    user_state_folder,
)
from autoroute.config.settings import PhaseSettings, Settings, Tables
from autoroute.config.task import TaskFile
from autoroute.errors import ConfigError
from autoroute.providers.accounts import ACCOUNT_KEYS, Account, has_literal_key, load_accounts
from autoroute.providers.builtin import load_profiles
from autoroute.providers.catalog import Catalog, ResolvedModel
from autoroute.providers.claude_profiles import (
    ClaudeProfile,
    ClaudeSettings,
    discover_profiles,
    profile_order,
    unknown_order_warnings,
)
from autoroute.providers.credentials import Credentials
from autoroute.providers.key_store import KeyStore, check_private
from autoroute.redaction import Redactor
from autoroute.routing import (
    Billing,
    Budget,
    Phase,
    PhaseRouting,
    ProviderProfile,
    RecoverySettings,
    Route,
    RunConfig,
)
from autoroute.wire import Runner

_DEFAULT_MODEL = "sonnet"


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A run's configuration and keys, and what was known when they were settled.

    ``notices`` are what the user should know about them; ``runner`` is the vendor's program that some routes go by.
    """

    config: RunConfig
    credentials: Credentials
    catalog: Catalog
    profiles: Mapping[str, ProviderProfile]
    notices: tuple[str, ...] = ()
    claude: ClaudeSettings = field(default_factory=ClaudeSettings)
    runner: Runner | None = None

    def billing(self, route: Route) -> Billing:
        """What a route's tokens cost: for a login by what it is, else by what its provider is."""
        profile = self.profiles[route.provider]
        if profile.logins and self.runner is not None:
            return self.runner.billing(route.account)
        return profile.billing


OpenRunner = Callable[[ClaudeSettings, Sequence[ClaudeProfile], RecoverySettings], Runner]
"""What makes the runner of these settings and logins."""


def load(
    *,
    repository: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    user_file: Path | None = None,
    task: TaskFile | None = None,
    open_runner: OpenRunner | None = None,
    before: Mapping[Phase, Route] | None = None,
    redactor: Redactor | None = None,
) -> ResolvedConfig:
    """Read all layers and settle every choice; raises ``ConfigError`` with the place and the mend.

    Without ``open_runner`` no login is looked at. ``before`` are the routes of a run that goes on: a login that it had
    and that has ended is replaced by another one, or by a key, only where the user says so. ``redactor`` learns the
    keys.
    """
    own, user = _own_layer(environ, user_file)
    below = Settings.of([user.data])
    given = [
        read_file(repository / "autoroute.toml", "autoroute.toml", trusted=False, required=False),
        Layer(task.name, task.settings, trusted=False) if task else Layer("task", {}),
        read_environment(environ),
        Layer("flag", flags),
    ]
    layers = [user, *(check(layer, below, own) for layer in given)]
    settings = Settings.of([layer.data for layer in layers])
    logins = discover_profiles(settings.claude, environ, profile_order_file(environ))
    runner = open_runner(settings.claude, logins, settings.recovery) if open_runner else None
    profiles, credentials = _providers(settings.providers, own, environ, logins, redactor)
    catalog = Catalog(profiles, refreshed_models_file(environ))
    kept = _logins(runner, settings, logins, before or {}, environ) if runner else None
    router = _Router(settings, profiles, catalog, credentials, sources(layers), kept)
    phases = {phase: router.route(phase) for phase in Phase}
    # Some write a model's name where a server takes any key.
    credentials.redactor.exempt(
        route.model for routing in phases.values() for route in (routing.primary, *routing.fallbacks)
    )
    used = {route.provider for routing in phases.values() for route in (routing.primary, *routing.fallbacks)}
    config = RunConfig(
        phases=phases,
        providers={name: profiles[name] for name in sorted(used)},
        limits=settings.limits,
        clocks=settings.clocks,
        budgets=_budgets(settings),
        served_model=settings.served_model,
        recovery=settings.recovery,
        gates=_gates(layers),
        sandbox=settings.sandbox,
        sources=router.sources,
    )
    if any(profiles[name].logins for name in used):
        router.notices += unknown_order_warnings(settings.claude, logins)
    notices = tuple(dict.fromkeys(router.notices))
    return ResolvedConfig(config, credentials, catalog, profiles, notices, settings.claude, runner)


def _logins(
    runner: Runner,
    settings: Settings,
    found: Sequence[ClaudeProfile],
    before: Mapping[Phase, Route],
    environ: Mapping[str, str],
) -> Logins:
    return Logins(
        runner,
        labels=[profile.label for profile in found],
        chosen=next(iter(profile_order(settings.claude, profile_order_file(environ))), ""),
        had={route.provider: route.account for route in reversed(tuple(before.values()))},
        switches=settings.claude.auto_switch,
        may_pay=settings.recovery.allow_paid,
    )


def _gates(layers: Sequence[Layer]) -> tuple[Phase, ...]:
    """Those of all layers together: a repository may add a gate, and takes none away."""
    gates = {gate for layer in layers for gate in Tables.model_validate(dict(layer.data)).gates}
    return tuple(phase for phase in Phase if phase in gates)


def _budgets(settings: Settings) -> dict[str, Budget]:
    """Those that bound something, the run's under "run"."""
    budgets = {"run": settings.budget}
    for phase in Phase:
        chosen: PhaseSettings = getattr(settings.phases, phase.value)
        budgets[phase.value] = Budget(usd=chosen.budget_usd, tokens=chosen.budget_tokens)
    return {name: budget for name, budget in budgets.items() if budget != Budget()}


def own_providers(
    environ: Mapping[str, str], user_file: Path | None = None, redactor: Redactor | None = None
) -> tuple[dict[str, ProviderProfile], Credentials]:
    """The providers and accounts of the user's own file and environment, apart from any project."""
    own, user = _own_layer(environ, user_file)
    settings = Settings.of([user.data])
    logins = discover_profiles(settings.claude, environ, profile_order_file(environ))
    return _providers(settings.providers, own, environ, logins, redactor)


def own_profiles(
    environ: Mapping[str, str], user_file: Path | None = None
) -> tuple[ClaudeSettings, tuple[ClaudeProfile, ...]]:
    """The Claude profiles of the user's own file and environment, likewise."""
    own, user = _own_layer(environ, user_file)
    settings = Settings.of([user.data, check(read_environment(environ), Tables(), own).data]).claude
    return settings, discover_profiles(settings, environ, profile_order_file(environ))


def _own_layer(environ: Mapping[str, str], user_file: Path | None) -> tuple[Path, Layer]:
    """Where the user's own file is, and what it says. One that was named has to be there."""
    own = user_file or user_config_file(environ)
    named = bool(user_file or environ.get("AUTOROUTE_CONFIG"))
    return own, check(read_file(own, str(own), trusted=True, required=named), Tables(), own)


def _providers(
    tables: Mapping[str, Mapping[str, Any]],
    own: Path,
    environ: Mapping[str, str],
    logins: Sequence[ClaudeProfile],
    redactor: Redactor | None,
) -> tuple[dict[str, ProviderProfile], Credentials]:
    profiles = load_profiles(tables, str(own))
    accounts = load_accounts(tables, profiles, str(own))
    kept = tuple(Account(login.label) for login in logins)
    for name, profile in profiles.items():
        if profile.logins:
            if set(tables.get(name, {})) & set(ACCOUNT_KEYS):
                raise ConfigError(
                    f"{own}: providers.{name}: its accounts are logins, which have a table of their own",
                    hint="[claude.profiles.NAME]",
                )
            accounts[name] = kept
    if has_literal_key(accounts):
        check_private(own)
    tokens = [login.token_env for login in logins if login.token_env]
    return profiles, Credentials(profiles, accounts, environ, KeyStore(user_state_folder(environ)), redactor, tokens)


class _Router:
    """Settles the routes of every phase, and notes where each came from and what the user should know."""

    def __init__(
        self,
        settings: Settings,
        profiles: Mapping[str, ProviderProfile],
        catalog: Catalog,
        credentials: Credentials,
        sources: dict[str, str],
        logins: Logins | None,
    ) -> None:
        self._phases = settings.phases
        self._profiles = profiles
        self._catalog = catalog
        self._credentials = credentials
        self._logins = logins
        self.sources = sources
        self.notices: list[str] = []

    def route(self, phase: Phase) -> PhaseRouting:
        """A phase's routes. Spec and qa, when set nowhere, follow planning; what is set nowhere is the default."""
        chosen: PhaseSettings = getattr(self._phases, phase.value)
        if phase in (Phase.SPEC, Phase.QA) and chosen.model is None and self._phases.planning.model is not None:
            followed = self._phases.planning.model_dump(include={"model", "effort", "fallback"})
            chosen = PhaseSettings(**{**followed, **chosen.model_dump(exclude_none=True)})
            self.sources[f"phases.{phase}.model"] = f"follows planning: {self.sources['phases.planning.model']}"
        place = self.sources.setdefault(f"phases.{phase}.model", "default")
        primary = self._resolve(chosen.model or _DEFAULT_MODEL, chosen, phase, place)
        elsewhere = self.sources.get(f"phases.{phase}.fallback", place)
        fallbacks = [self._resolve(written, chosen, phase, elsewhere) for written in chosen.fallback or []]
        return PhaseRouting(primary, tuple(fallbacks))

    def _resolve(self, written: str, chosen: PhaseSettings, phase: Phase, place: str) -> Route:
        try:
            resolved = self._by_login(written, self._catalog.resolve(written))
        except ConfigError as error:
            raise ConfigError(f"{place}: {phase}: {error.message}", hint=error.hint) from None
        profile, facts = self._profiles[resolved.provider], resolved.facts
        name = f"{phase}: {resolved.provider}/{resolved.id}"
        effort = chosen.effort or ""
        if effort and (not profile.quirks.effort or (facts and effort not in facts.effort)):
            self.notices.append(f"{name} takes no effort, so none is sent")
            effort = ""
        return Route(
            provider=resolved.provider,
            model=resolved.id,
            requested=written,
            host=profile.host,
            account=self._account(profile),
            effort=effort,
            context=facts.context if facts else None,
            max_output=facts.max_output if facts else None,
            tools=facts.tools if facts else True,
            runner=profile.runner,
        )

    def _by_login(self, written: str, resolved: ResolvedModel) -> ResolvedModel:
        """A bare model as it goes by a login where one is there for the models of its provider, else by key."""
        siblings = [profile for profile in self._profiles.values() if profile.like == resolved.provider]
        by_login = next((profile.name for profile in siblings if profile.logins), "")
        if "/" in written or not by_login or self._logins is None:
            return resolved
        if not self._logins.take(by_login, resolved.provider):
            return resolved
        by_key = f"{resolved.provider}/{written}"
        self.notices.append(f"{written} goes by your login, as {by_login}/{written}; {by_key} would go by key")
        return self._catalog.resolve(f"{by_login}/{resolved.id}")

    def _account(self, profile: ProviderProfile) -> str:
        if profile.logins and self._logins is not None:
            return self._logins.account(profile)
        return self._credentials.first_usable(profile.name)

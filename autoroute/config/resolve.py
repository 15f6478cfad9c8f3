"""The complete configuration of a run, resolved from all layers of settings, and the keys that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoroute.config.layers import Layer, check_layer, find_sources, read_environment_layer, read_settings_file
from autoroute.config.logins import LoginChoice
from autoroute.config.paths import (
    profile_order_file,
    refreshed_models_file,
    user_config_file,
    user_state_folder,
)
from autoroute.config.settings import LayerSettings, PhaseSettings, Settings
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
    """A run's configuration and keys, and the catalog and profiles that it was resolved with.

    ``notices`` tell the user about choices that were made for them. ``runner`` is the vendor's program for routes with
    logins; None if logins were not looked up.
    """

    config: RunConfig
    credentials: Credentials
    catalog: Catalog
    profiles: Mapping[str, ProviderProfile]
    notices: tuple[str, ...] = ()
    claude: ClaudeSettings = field(default_factory=ClaudeSettings)
    runner: Runner | None = None

    def billing(self, route: Route) -> Billing:
        """Return how a route is billed: by its login if it has one, else by its provider."""
        profile = self.profiles[route.provider]
        if profile.logins and self.runner is not None:
            return self.runner.billing(route.account)
        return profile.billing


OpenRunner = Callable[[ClaudeSettings, Sequence[ClaudeProfile], RecoverySettings], Runner]
"""Makes a runner from the settings of Claude, its profiles, and the recovery settings."""


def resolve_config(
    *,
    repository: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    user_file: Path | None = None,
    task: TaskFile | None = None,
    open_runner: OpenRunner | None = None,
    earlier_routes: Mapping[Phase, Route] | None = None,
    redactor: Redactor | None = None,
) -> ResolvedConfig:
    """Read all layers and resolve them. Raises ``ConfigError`` with the source of the value and what to do.

    Without ``open_runner``, logins are not looked up. ``earlier_routes`` are those of a resumed run. Such a run keeps
    its login: another login or a key replaces it only if the user's settings say so. ``redactor`` learns the keys.
    """
    path, user = _read_user_layer(environ, user_file)
    user_settings = Settings.merge([user.data])
    others = [
        read_settings_file(repository / "autoroute.toml", "autoroute.toml", trusted=False, required=False),
        Layer(task.name, task.settings, trusted=False) if task else Layer("task", {}),
        read_environment_layer(environ),
        Layer("flag", flags),
    ]
    layers = [user, *(check_layer(layer, user_settings, path) for layer in others)]
    settings = Settings.merge([layer.data for layer in layers])
    logins = discover_profiles(settings.claude, environ, profile_order_file(environ))
    runner = open_runner(settings.claude, logins, settings.recovery) if open_runner else None
    profiles, credentials = _load_providers(settings.providers, path, environ, logins, redactor)
    catalog = Catalog(profiles, refreshed_models_file(environ))
    choice = _choose_logins(runner, settings, logins, earlier_routes or {}, environ) if runner else None
    router = _Router(settings, profiles, catalog, credentials, find_sources(layers), choice)
    phases = {phase: router.route(phase) for phase in Phase}
    # Users write a model's name as the key of a server that takes any key. Redacting it would hide the model.
    credentials.redactor.exempt(
        route.model for routing in phases.values() for route in (routing.primary, *routing.fallbacks)
    )
    used = {route.provider for routing in phases.values() for route in (routing.primary, *routing.fallbacks)}
    config = RunConfig(
        phases=phases,
        providers={name: profiles[name] for name in sorted(used)},
        limits=settings.limits,
        clocks=settings.clocks,
        budgets=_collect_budgets(settings),
        served_model=settings.served_model,
        recovery=settings.recovery,
        gates=_collect_gates(layers),
        sandbox=settings.sandbox,
        workspace=settings.workspace,
        verify=settings.verify,
        sources=router.sources,
    )
    if any(profiles[name].logins for name in used):
        router.notices += unknown_order_warnings(settings.claude, logins)
    notices = tuple(dict.fromkeys(router.notices))
    return ResolvedConfig(config, credentials, catalog, profiles, notices, settings.claude, runner)


def _choose_logins(
    runner: Runner,
    settings: Settings,
    found: Sequence[ClaudeProfile],
    earlier_routes: Mapping[Phase, Route],
    environ: Mapping[str, str],
) -> LoginChoice:
    return LoginChoice(
        runner,
        labels=[profile.label for profile in found],
        preferred=next(iter(profile_order(settings.claude, profile_order_file(environ))), ""),
        earlier_accounts={route.provider: route.account for route in reversed(tuple(earlier_routes.values()))},
        auto_switch=settings.claude.auto_switch,
        allow_paid=settings.recovery.allow_paid,
    )


def _collect_gates(layers: Sequence[Layer]) -> tuple[Phase, ...]:
    """Return the gates of all layers together: a repository may add a gate and not remove one."""
    # Not from the merged settings, where the list of a later layer replaces the others.
    gates = {gate for layer in layers for gate in LayerSettings.model_validate(dict(layer.data)).gates}
    return tuple(phase for phase in Phase if phase in gates)


def _collect_budgets(settings: Settings) -> dict[str, Budget]:
    """Return the budgets that have a limit: the run's under "run", and those of phases."""
    budgets = {"run": settings.budget}
    for phase in Phase:
        chosen: PhaseSettings = getattr(settings.phases, phase.value)
        budgets[phase.value] = Budget(usd=chosen.budget_usd, tokens=chosen.budget_tokens)
    return {name: budget for name, budget in budgets.items() if budget != Budget()}


def resolve_user_providers(
    environ: Mapping[str, str], user_file: Path | None = None, redactor: Redactor | None = None
) -> tuple[dict[str, ProviderProfile], Credentials]:
    """Return the providers and accounts of the user's own file and environment, without any project's settings."""
    path, user = _read_user_layer(environ, user_file)
    settings = Settings.merge([user.data])
    logins = discover_profiles(settings.claude, environ, profile_order_file(environ))
    return _load_providers(settings.providers, path, environ, logins, redactor)


def resolve_user_claude_profiles(
    environ: Mapping[str, str], user_file: Path | None = None
) -> tuple[ClaudeSettings, tuple[ClaudeProfile, ...]]:
    """Return the Claude settings and profiles of the user's own file and environment."""
    path, user = _read_user_layer(environ, user_file)
    variables = check_layer(read_environment_layer(environ), LayerSettings(), path)
    settings = Settings.merge([user.data, variables.data]).claude
    return settings, discover_profiles(settings, environ, profile_order_file(environ))


def _read_user_layer(environ: Mapping[str, str], user_file: Path | None) -> tuple[Path, Layer]:
    """Return the path of the user's own file and its layer. A file that was named explicitly must exist."""
    path = user_file or user_config_file(environ)
    is_named = bool(user_file or environ.get("AUTOROUTE_CONFIG"))
    layer = read_settings_file(path, str(path), trusted=True, required=is_named)
    return path, check_layer(layer, LayerSettings(), path)


def _load_providers(
    tables: Mapping[str, Mapping[str, Any]],
    path: Path,
    environ: Mapping[str, str],
    logins: Sequence[ClaudeProfile],
    redactor: Redactor | None,
) -> tuple[dict[str, ProviderProfile], Credentials]:
    profiles = load_profiles(tables, str(path))
    accounts = load_accounts(tables, profiles, str(path))
    login_accounts = tuple(Account(login.label) for login in logins)
    for name, profile in profiles.items():
        if profile.logins:
            if set(tables.get(name, {})) & set(ACCOUNT_KEYS):
                raise ConfigError(
                    f"{path}: providers.{name}: its accounts are logins and cannot have keys",
                    hint="configure a login as [claude.profiles.NAME]",
                )
            accounts[name] = login_accounts
    if has_literal_key(accounts):
        check_private(path)
    tokens = [login.token_env for login in logins if login.token_env]
    return profiles, Credentials(profiles, accounts, environ, KeyStore(user_state_folder(environ)), redactor, tokens)


class _Router:
    """Resolves the routes of each phase, and collects their sources and notices for the user."""

    def __init__(
        self,
        settings: Settings,
        profiles: Mapping[str, ProviderProfile],
        catalog: Catalog,
        credentials: Credentials,
        sources: dict[str, str],
        logins: LoginChoice | None,
    ) -> None:
        self._phases = settings.phases
        self._profiles = profiles
        self._catalog = catalog
        self._credentials = credentials
        self._logins = logins
        self.sources = sources
        self.notices: list[str] = []

    def route(self, phase: Phase) -> PhaseRouting:
        """Return a phase's routes. If they are not set, spec and qa use those of planning, and others the default."""
        chosen: PhaseSettings = getattr(self._phases, phase.value)
        if phase in (Phase.SPEC, Phase.QA) and chosen.model is None and self._phases.planning.model is not None:
            followed = self._phases.planning.model_dump(include={"model", "effort", "fallback"})
            chosen = PhaseSettings(**{**followed, **chosen.model_dump(exclude_none=True)})
            self.sources[f"phases.{phase}.model"] = f"{self.sources['phases.planning.model']} (follows planning)"
        source = self.sources.setdefault(f"phases.{phase}.model", "default")
        primary = self._resolve(chosen.model or _DEFAULT_MODEL, chosen, phase, source)
        fallback_source = self.sources.get(f"phases.{phase}.fallback", source)
        fallbacks = [self._resolve(written, chosen, phase, fallback_source) for written in chosen.fallback or []]
        return PhaseRouting(primary, tuple(fallbacks))

    def _resolve(self, written: str, chosen: PhaseSettings, phase: Phase, source: str) -> Route:
        model = written.rpartition("/")[2]
        from autoroute.workspace.secret_scan import looks_like_key

        if looks_like_key(model):
            self._credentials.redactor.learn([model])
            raise ConfigError(
                f"{source}: {phase}: this is a key, not a model",
                hint="store the key with autoroute login PROVIDER, and name a model: autoroute models",
            )
        try:
            resolved = self._prefer_login(written, self._catalog.resolve(written))
        except ConfigError as error:
            raise ConfigError(f"{source}: {phase}: {error.message}", hint=error.hint) from None
        profile, facts = self._profiles[resolved.provider], resolved.facts
        effort = chosen.effort or ""
        if effort and (not profile.quirks.effort or (facts and effort not in facts.effort)):
            name = f"{resolved.provider}/{resolved.id}"
            self.notices.append(f"{phase}: {name} does not support effort {effort!r}; none is sent")
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

    def _prefer_login(self, written: str, resolved: ResolvedModel) -> ResolvedModel:
        """Return a model that was written without a provider at the login of its vendor, if one is usable."""
        siblings = [profile for profile in self._profiles.values() if profile.like == resolved.provider]
        by_login = next((profile.name for profile in siblings if profile.logins), "")
        if "/" in written or not by_login or self._logins is None:
            return resolved
        if not self._logins.uses_login(by_login, resolved.provider):
            return resolved
        by_key = f"{resolved.provider}/{written}"
        self.notices.append(f"using your Claude login for {written}; use {by_key} for the API key")
        return self._catalog.resolve(f"{by_login}/{resolved.id}")

    def _account(self, profile: ProviderProfile) -> str:
        if profile.logins and self._logins is not None:
            return self._logins.choose_account(profile)
        return self._credentials.first_usable(profile.name)

"""Layers -> a run's configuration with nothing left to decide, and the keys that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from autoroute.config.layers import Layer, check, read_environment, read_file, sources
from autoroute.config.places import user_config_file
from autoroute.config.settings import PhaseSettings, Settings
from autoroute.config.task import TaskFile
from autoroute.errors import ConfigError
from autoroute.providers.catalogue import Catalogue
from autoroute.providers.credentials import MissingKey, find_key
from autoroute.providers.profiles import load_profiles
from autoroute.routing import Limits, Phase, PhaseRouting, ProviderProfile, Route, RunConfig, Secret

_DEFAULT_MODEL = "sonnet"
_SOON = timedelta(days=60)


class Secrets:
    """The keys of a run's providers. Each is found for its own provider only."""

    def __init__(self, keys: Mapping[str, Secret | MissingKey | None]) -> None:
        self._keys = keys

    def find(self, route: Route) -> Secret | MissingKey | None:
        """The key for a route; None when its provider needs none."""
        return self._keys[route.provider]

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._keys)})"


@dataclass(frozen=True, slots=True)
class Settled:
    """A run's configuration and keys; ``notices`` are what the user should know about them."""

    config: RunConfig
    secrets: Secrets
    notices: tuple[str, ...] = ()


def load(
    *,
    repository: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    today: date,
    user_file: Path | None = None,
    task: TaskFile | None = None,
) -> Settled:
    """Read all layers and settle every choice; raises ``ConfigError`` with the place and the mend."""
    own = user_file or user_config_file(environ)
    named = bool(user_file or environ.get("AUTOROUTE_CONFIG"))
    user = check(read_file(own, str(own), trusted=True, required=named), Limits(), own)
    below = Settings.of([user.data]).limits
    given = [
        read_file(repository / "autoroute.toml", "autoroute.toml", trusted=False, required=False),
        Layer(task.name, task.settings, trusted=False) if task else Layer("task", {}),
        read_environment(environ),
        Layer("flag", flags),
    ]
    layers = [user, *(check(layer, below, own) for layer in given)]
    settings = Settings.of([layer.data for layer in layers])
    profiles = load_profiles(settings.providers, str(own))
    router = _Router(settings, profiles, sources(layers), today)
    phases = {phase: router.route(phase) for phase in Phase}
    used = {route.provider for routing in phases.values() for route in (routing.primary, *routing.fallbacks)}
    config = RunConfig(
        phases=phases,
        providers={name: profiles[name] for name in sorted(used)},
        limits=settings.limits,
        clocks=settings.clocks,
        sources=router.sources,
    )
    keys = {name: find_key(profiles[name], environ) for name in sorted(used)}
    return Settled(config, Secrets(keys), tuple(dict.fromkeys(router.notices)))


class _Router:
    """Settles the routes of every phase, and notes where each came from and what the user should know."""

    def __init__(
        self, settings: Settings, profiles: Mapping[str, ProviderProfile], sources: dict[str, str], today: date
    ) -> None:
        self._phases = settings.phases
        self._profiles = profiles
        self._catalogue = Catalogue(profiles)
        self._today = today
        self.sources = sources
        self.notices: list[str] = []

    def route(self, phase: Phase) -> PhaseRouting:
        """A phase's routes. Spec and qa, when set nowhere, follow planning; what is set nowhere is the default."""
        chosen: PhaseSettings = getattr(self._phases, phase.value)
        if phase in (Phase.SPEC, Phase.QA) and chosen.model is None and self._phases.planning.model is not None:
            set_here = chosen.model_dump(exclude_none=True)
            chosen = self._phases.planning.model_copy(update=set_here)
            self.sources[f"phases.{phase}.model"] = f"follows planning: {self.sources['phases.planning.model']}"
        place = self.sources.setdefault(f"phases.{phase}.model", "default")
        primary = self._resolve(chosen.model or _DEFAULT_MODEL, chosen, phase, place)
        elsewhere = self.sources.get(f"phases.{phase}.fallback", place)
        fallbacks = [self._resolve(written, chosen, phase, elsewhere) for written in chosen.fallback or []]
        return PhaseRouting(primary, tuple(fallbacks))

    def _resolve(self, written: str, chosen: PhaseSettings, phase: Phase, place: str) -> Route:
        try:
            resolved = self._catalogue.resolve(written)
        except ConfigError as error:
            raise ConfigError(f"{place}: {phase}: {error.message}", hint=error.hint) from None
        profile, facts = self._profiles[resolved.provider], resolved.facts
        name = f"{phase}: {resolved.provider}/{resolved.id}"
        effort = chosen.effort or ""
        if effort and (not profile.quirks.effort or (facts and not facts.effort)):
            self.notices.append(f"{name} takes no effort, so none is sent")
            effort = ""
        if facts and facts.retires and facts.retires - self._today < _SOON:
            self.notices.append(f"{name} retires on {facts.retires}")
        return Route(
            provider=resolved.provider,
            model=resolved.id,
            requested=written,
            host=profile.host,
            effort=effort,
            context=facts.context if facts else None,
            max_output=facts.max_output if facts else None,
        )

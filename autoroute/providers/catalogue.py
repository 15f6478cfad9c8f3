"""What people write -> the provider and the exact id that is sent. Nothing is guessed: an unknown name is an error."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files

from autoroute.errors import ConfigError
from autoroute.routing import ProviderProfile

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model; sizes in tokens. ``effort`` is whether it can be told how hard to think."""

    provider: str
    id: str
    context: int
    max_output: int
    effort: bool = True
    retires: date | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model of a provider; ``facts`` is None for one that the catalogue does not list."""

    provider: str
    id: str
    facts: ModelFacts | None


class Catalogue:
    """Aliases and models of known size, for a set of providers."""

    def __init__(self, profiles: Mapping[str, ProviderProfile]) -> None:
        data = tomllib.loads(files("autoroute.providers").joinpath("models.toml").read_text(encoding="utf-8"))
        self._profiles = profiles
        self.aliases: Mapping[str, str] = data["aliases"]
        self.models: Sequence[ModelFacts] = [ModelFacts(**row) for row in data["models"]]

    def resolve(self, written: str) -> Resolved:
        """The model that ``written`` names: an alias, an exact id, or ``provider/model``, split at the first ``/``.

        A provider's own ``models`` table comes first, then the aliases, then the ids. Raises ``ConfigError`` with the
        nearest names; an unlisted id passes when its provider is named.
        """
        if not written or len(written) > _LONGEST or not written.isprintable() or " " in written:
            raise ConfigError(f"{written[:_LONGEST]!r} is no model", hint="an alias, a model id, or provider/model")
        provider, slash, model = written.partition("/")
        return self._of_provider(provider, model, written) if slash else self._bare(written)

    def _of_provider(self, provider: str, model: str, written: str) -> Resolved:
        profile = self._profiles.get(provider)
        if profile is None:
            raise ConfigError(
                f"{written}: there is no provider {provider!r}", hint=_nearest(provider, list(self._profiles))
            )
        if not model:
            raise ConfigError(f"{written}: name a model after the /", hint=f"{provider}/MODEL")
        aliased_provider, _, aliased = self.aliases.get(model, "").partition("/")
        id = profile.models.get(model) or (aliased if aliased_provider in (provider, profile.like) else "") or model
        return Resolved(provider, id, self._facts(profile.like or provider, id))

    def _bare(self, written: str) -> Resolved:
        mapped = [name for name, profile in self._profiles.items() if written in profile.models]
        provider = self.aliases.get(written, "").partition("/")[0]
        if provider and (provider in mapped or not mapped):
            return self._of_provider(provider, written, written)
        if len(mapped) > 1:
            ways = " or ".join(f"{name}/{written}" for name in mapped)
            raise ConfigError(f"{written!r} is a model of {len(mapped)} providers", hint=f"write {ways}")
        if mapped:
            return self._of_provider(mapped[0], written, written)
        for facts in self.models:
            if facts.id == written:
                return Resolved(facts.provider, facts.id, facts)
        known = [*self.aliases, *(facts.id for facts in self.models)]
        raise ConfigError(
            f"unknown model {written!r}", hint=f"{_nearest(written, known)} Any other model: provider/model"
        )

    def _facts(self, provider: str, id: str) -> ModelFacts | None:
        return next((facts for facts in self.models if (facts.provider, facts.id) == (provider, id)), None)


def _nearest(written: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(written, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known[:12])}"

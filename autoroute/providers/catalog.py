"""What people write -> the provider and the exact id that is sent. Nothing is guessed: an unknown name is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from autoroute.errors import ConfigError
from autoroute.parsing import ParseLimits, read_json
from autoroute.routing import ProviderProfile
from autoroute.text import did_you_mean

_LONGEST = 200
_BOUNDS = ParseLimits(bytes=16 * 1024 * 1024, names=1_000_000, lenient=True)


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Row):
    """USD for a million tokens; a cache price of None is not known, and counted as input."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)


class ModelFacts(_Row):
    """What is known of a model; sizes in tokens, None where unknown."""

    provider: str
    id: str
    context: int | None = Field(default=None, gt=0)
    max_output: int | None = Field(default=None, gt=0)
    price: Price | None = None
    tools: bool = True
    reasoning: bool = True
    effort: tuple[str, ...] = ()
    """Levels that it can be asked for."""
    served_as: tuple[str, ...] = ()
    """Other names under which its answers come."""
    retires: date | None = None


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model of a provider; ``facts`` is None for one that the catalog does not list."""

    provider: str
    id: str
    facts: ModelFacts | None


class Catalog:
    """Aliases and models of known size and price, for a set of providers.

    ``refreshed`` is the file that ``autoroute models --refresh`` wrote, if any: newer than the built-in table it adds
    models, sizes and prices; it never changes what an alias means.
    """

    def __init__(self, profiles: Mapping[str, ProviderProfile], refreshed: Path | None = None) -> None:
        data = tomllib.loads(files("autoroute.providers").joinpath("models.toml").read_text(encoding="utf-8"))
        self._profiles = profiles
        self.aliases: Mapping[str, str] = data["aliases"]
        self.as_of: date = data["as_of"]
        self._models = {(row.provider, row.id): row for row in _rows(data["models"])}
        if refreshed is not None:
            self._refresh(refreshed)

    @property
    def models(self) -> Sequence[ModelFacts]:
        """Every listed model."""
        return list(self._models.values())

    @property
    def version(self) -> str:
        """What a receipt says of where sizes and prices come from."""
        return f"models.toml {self.as_of}"

    def aliases_of(self, facts: ModelFacts) -> list[str]:
        """The aliases that mean a model."""
        name = f"{facts.provider}/{facts.id}"
        return [alias for alias, meant in self.aliases.items() if meant == name]

    def family(self, provider: str) -> str:
        """Whose way of naming models a provider has: its platform's, its sibling's, or its own."""
        profile = self._profiles[provider]
        return profile.platform or profile.like or provider

    def resolve(self, written: str) -> ResolvedModel:
        """The model that ``written`` names: an alias, an exact id, or ``provider/model``, split at the first ``/``.

        A provider's own ``models`` table comes first, then the aliases, then the ids. Raises ``ConfigError`` with the
        nearest names; an unlisted id passes when its provider is named.
        """
        if not written or len(written) > _LONGEST or not written.isprintable() or " " in written:
            raise ConfigError(f"{written[:_LONGEST]!r} is no model", hint="an alias, a model id, or provider/model")
        provider, slash, model = written.partition("/")
        return self._of_provider(provider, model, written) if slash else self._bare(written)

    def _refresh(self, path: Path) -> None:
        """Take over what a newer file says; one that is older, broken or not there changes nothing."""
        try:
            data = read_json(path.read_bytes(), _BOUNDS) if path.stat().st_size <= _BOUNDS.bytes else {}
            as_of = date.fromisoformat(data["as_of"])
            rows = _rows(data["models"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        if as_of < self.as_of:
            return
        self.as_of = as_of
        for row in rows:
            known = self._models.get((row.provider, row.id))
            new = {name: getattr(row, name) for name in row.model_fields_set}
            self._models[row.provider, row.id] = known.model_copy(update=new) if known else row

    def _of_provider(self, provider: str, model: str, written: str) -> ResolvedModel:
        profile = self._profiles.get(provider)
        if profile is None:
            raise ConfigError(
                f"{written}: there is no provider {provider!r}", hint=_nearest(provider, list(self._profiles))
            )
        if not model:
            raise ConfigError(f"{written}: name a model after the /", hint=f"{provider}/MODEL")
        aliased_provider, _, aliased = self.aliases.get(model, "").partition("/")
        id = profile.models.get(model) or (aliased if aliased_provider in (provider, profile.like) else "") or model
        return ResolvedModel(provider, id, self._models.get((profile.like or provider, id)))

    def _bare(self, written: str) -> ResolvedModel:
        mapped = [name for name, profile in self._profiles.items() if written in profile.models]
        provider = self.aliases.get(written, "").partition("/")[0]
        if provider and (provider in mapped or not mapped):
            return self._of_provider(provider, written, written)
        if len(mapped) > 1:
            ways = " or ".join(f"{name}/{written}" for name in mapped)
            raise ConfigError(f"{written!r} is a model of {len(mapped)} providers", hint=f"write {ways}")
        if mapped:
            return self._of_provider(mapped[0], written, written)
        for facts in self._models.values():
            if facts.id == written:
                return ResolvedModel(facts.provider, facts.id, facts)
        known = [*self.aliases, *(id for _, id in self._models)]
        raise ConfigError(
            f"unknown model {written!r}", hint=f"{_nearest(written, known)} Any other model: provider/model"
        )


_ROWS: TypeAdapter[list[ModelFacts]] = TypeAdapter(list[ModelFacts])


def _rows(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[ModelFacts]:
    """``[models.PROVIDER]`` tables as rows. Raises ``ValueError`` for what is none."""
    rows = [{**row, "provider": name, "id": id} for name, table in tables.items() for id, row in table.items()]
    try:
        return _ROWS.validate_python(rows)
    except ValidationError as error:
        raise ValueError(str(error)) from None


def _nearest(written: str, known: Sequence[str]) -> str:
    return did_you_mean(written, known, otherwise=f"known: {', '.join(known[:12])}")

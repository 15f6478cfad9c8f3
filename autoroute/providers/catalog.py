"""The model catalog: what people write -> provider and exact model id. Unknown names are errors, never guesses."""

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
from autoroute.text import did_you_mean, join_first

_MAX_NAME_CHARACTERS = 200
_MAX_LISTED_NAMES = 12
_REFRESHED_LIMITS = ParseLimits(bytes=16 * 1024 * 1024, names=1_000_000, lenient=True)


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_FrozenModel):
    """USD for a million tokens. A cache price of None is unknown, and the input price is used for it."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)


class ModelFacts(_FrozenModel):
    """The known facts of a model. Sizes are in tokens, None if unknown."""

    provider: str
    id: str
    context: int | None = Field(default=None, gt=0)
    max_output: int | None = Field(default=None, gt=0)
    price: Price | None = None
    tools: bool = True
    reasoning: bool = True
    effort: tuple[str, ...] = ()
    """The effort levels that it accepts."""
    served_as: tuple[str, ...] = ()
    """Other names that its replies may give it."""
    retires: date | None = None


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model of a provider. ``facts`` is None for a model that the catalog does not list."""

    provider: str
    id: str
    facts: ModelFacts | None


class Catalog:
    """Aliases, and models of known size and price, for a set of providers.

    ``refreshed`` is the file that ``autoroute models --refresh`` wrote, if any. One that is newer than the built-in
    table adds models, sizes and prices. It never changes what an alias means.
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
        """Every listed model, in the order of the table."""
        return list(self._models.values())

    @property
    def version(self) -> str:
        """The source of sizes and prices, for the receipt: ``models.toml 2026-11-23``."""
        return f"models.toml {self.as_of}"

    def aliases_of(self, facts: ModelFacts) -> list[str]:
        """Return the aliases of a model."""
        name = f"{facts.provider}/{facts.id}"
        return [alias for alias, meant in self.aliases.items() if meant == name]

    def family(self, provider: str) -> str:
        """Return whose naming of models a provider follows: its platform's, its sibling's, or its own."""
        profile = self._profiles[provider]
        return profile.platform or profile.like or provider

    def resolve(self, written: str) -> ResolvedModel:
        """Return the model of an alias, of an exact id, or of ``provider/model``, split at the first ``/``.

        A provider's own ``models`` table comes first, then the aliases, then the ids. An unlisted id passes if its
        provider is named. Raises ``ConfigError`` with similar names for any other.
        """
        if not written or len(written) > _MAX_NAME_CHARACTERS or not written.isprintable() or " " in written:
            raise ConfigError(
                f"invalid model name {written[:_MAX_NAME_CHARACTERS]!r}",
                hint="write an alias, a model id, or provider/model",
            )
        provider, slash, model = written.partition("/")
        return self._resolve_at(provider, model, written) if slash else self._resolve_bare(written)

    def _refresh(self, path: Path) -> None:
        """Merge a newer file over the built-in table. An older, broken or missing file changes nothing."""
        try:
            data = (
                read_json(path.read_bytes(), _REFRESHED_LIMITS)
                if path.stat().st_size <= _REFRESHED_LIMITS.bytes
                else {}
            )
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

    def _resolve_at(self, provider: str, model: str, written: str) -> ResolvedModel:
        profile = self._profiles.get(provider)
        if profile is None:
            raise ConfigError(
                f"{written}: unknown provider {provider!r}", hint=_suggest(provider, list(self._profiles))
            )
        if not model:
            raise ConfigError(f"{written}: model name missing after the slash", hint=f"{provider}/MODEL")
        aliased_provider, _, aliased = self.aliases.get(model, "").partition("/")
        id = profile.models.get(model) or (aliased if aliased_provider in (provider, profile.like) else "") or model
        return ResolvedModel(provider, id, self._models.get((profile.like or provider, id)))

    def _resolve_bare(self, written: str) -> ResolvedModel:
        mapped = [name for name, profile in self._profiles.items() if written in profile.models]
        provider = self.aliases.get(written, "").partition("/")[0]
        if provider and (provider in mapped or not mapped):
            return self._resolve_at(provider, written, written)
        if len(mapped) > 1:
            full_names = " or ".join(f"{name}/{written}" for name in mapped)
            raise ConfigError(f"{written!r} is a model of {len(mapped)} providers", hint=f"write {full_names}")
        if mapped:
            return self._resolve_at(mapped[0], written, written)
        for facts in self._models.values():
            if facts.id == written:
                return ResolvedModel(facts.provider, facts.id, facts)
        known = [*self.aliases, *(id for _, id in self._models)]
        raise ConfigError(
            f"unknown model {written!r}",
            hint=f"{_suggest(written, known)} Write provider/model for a model that is not listed.",
        )


_ROWS: TypeAdapter[list[ModelFacts]] = TypeAdapter(list[ModelFacts])


def _rows(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[ModelFacts]:
    """Return ``[models.PROVIDER]`` tables as rows. Raises ``ValueError`` for a malformed one."""
    rows = [{**row, "provider": name, "id": id} for name, table in tables.items() for id, row in table.items()]
    try:
        return _ROWS.validate_python(rows)
    except ValidationError as error:
        raise ValueError(str(error)) from None


def _suggest(written: str, known: Sequence[str]) -> str:
    return did_you_mean(written, known, otherwise=f"known: {join_first(known, _MAX_LISTED_NAMES)}.")

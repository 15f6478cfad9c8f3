"""``models --refresh``: today's sizes, prices and capabilities from models.dev, in the form of ``models.toml``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoroute.atomic import write_private
from autoroute.errors import BadReply, WorkspaceError

SOURCE = "https://models.dev/api.json"

_MAX_ID_CHARACTERS = 200
_MAX_USD_PER_MILLION_TOKENS = 10_000
"""A higher price is a mistake of the listing: the dearest model of our own table costs 50."""

_MODELS_DEV_NAMES: Mapping[str, str] = MappingProxyType(
    {"moonshot": "moonshotai", "qwen": "alibaba", "together": "togetherai", "fireworks": "fireworks-ai"}
)
"""Our name of a provider -> its name at models.dev, where the two differ."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Cost(_Lenient):
    input: float = Field(ge=0, le=_MAX_USD_PER_MILLION_TOKENS)
    output: float = Field(ge=0, le=_MAX_USD_PER_MILLION_TOKENS)
    cache_read: float | None = Field(default=None, ge=0, le=_MAX_USD_PER_MILLION_TOKENS)
    cache_write: float | None = Field(default=None, ge=0, le=_MAX_USD_PER_MILLION_TOKENS)


class _Limit(_Lenient):
    context: int = Field(ge=0)
    output: int = Field(ge=0)


class _Model(_Lenient):
    reasoning: bool = False
    tool_call: bool = False
    cost: _Cost | None = None
    limit: _Limit | None = None


def convert_listing(data: Any, providers: Sequence[str], today: date) -> dict[str, Any]:
    """Return the listing as the catalog reads it: ``{"as_of", "models": {provider: {id: row}}}``.

    Invalid rows are left out. Raises ``BadReply`` for a listing without a valid row of these providers.
    """
    if not isinstance(data, Mapping):
        raise BadReply("the model listing is not a JSON object")
    models: dict[str, dict[str, Any]] = {}
    for name in providers:
        listed = data.get(_MODELS_DEV_NAMES.get(name, name))
        table = listed.get("models") if isinstance(listed, Mapping) else None
        rows = (
            {id: row for id, model in table.items() if (row := _row(id, model))} if isinstance(table, Mapping) else {}
        )
        if rows:
            models[name] = rows
    if not models:
        raise BadReply("the model listing contains no valid model of a known provider")
    return {"as_of": today.isoformat(), "models": models}


def save_listing(path: Path, data: Mapping[str, Any]) -> None:
    """Replace the refreshed table atomically. Raises ``WorkspaceError``."""
    try:
        write_private(path, json.dumps(data, indent=1) + "\n")
    except OSError as error:
        raise WorkspaceError(f"cannot write {path}: {error.strerror}") from None


def _row(id: object, data: object) -> dict[str, Any] | None:
    if not isinstance(id, str) or not id or len(id) > _MAX_ID_CHARACTERS or not id.isprintable():
        return None
    try:
        model = _Model.model_validate(data)
    except ValidationError:
        return None
    row: dict[str, Any] = {"tools": model.tool_call, "reasoning": model.reasoning}
    if model.limit:
        row |= {"context": model.limit.context or None, "max_output": model.limit.output or None}
    if model.cost:
        row["price"] = model.cost.model_dump()
    return {name: value for name, value in row.items() if value is not None}

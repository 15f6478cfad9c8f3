"""``models --refresh``: sizes, prices and abilities of today, from models.dev, in the form of our own table."""

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

_THEIR_NAMES: Mapping[str, str] = MappingProxyType(
    {"moonshot": "moonshotai", "qwen": "alibaba", "together": "togetherai", "fireworks": "fireworks-ai"}
)
"""Our name of a provider -> that of models.dev, where they differ."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Cost(_Lenient):
    input: float = Field(ge=0, le=10_000)
    output: float = Field(ge=0, le=10_000)
    cache_read: float | None = Field(default=None, ge=0, le=10_000)
    cache_write: float | None = Field(default=None, ge=0, le=10_000)


class _Limit(_Lenient):
    context: int = Field(ge=0)
    output: int = Field(ge=0)


class _Model(_Lenient):
    reasoning: bool = False
    tool_call: bool = False
    cost: _Cost | None = None
    limit: _Limit | None = None


def convert(data: Any, providers: Sequence[str], today: date) -> dict[str, Any]:
    """What the catalog reads: ``{"as_of", "models": {provider: {id: row}}}``. Raises ``BadReply``.

    A row that makes no sense is left out; a listing with none that does is refused.
    """
    if not isinstance(data, Mapping):
        raise BadReply("the listing of models is no JSON object")
    models: dict[str, dict[str, Any]] = {}
    for name in providers:
        listed = data.get(_THEIR_NAMES.get(name, name))
        table = listed.get("models") if isinstance(listed, Mapping) else None
        rows = (
            {id: row for id, model in table.items() if (row := _row(id, model))} if isinstance(table, Mapping) else {}
        )
        if rows:
            models[name] = rows
    if not models:
        raise BadReply("the listing of models has none of a provider that is known here")
    return {"as_of": today.isoformat(), "models": models}


def save(path: Path, data: Mapping[str, Any]) -> None:
    """Replace the refreshed table in one step. Raises ``WorkspaceError``."""
    try:
        write_private(path, json.dumps(data, indent=1) + "\n")
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}") from None


def _row(id: object, data: object) -> dict[str, Any] | None:
    if not isinstance(id, str) or not id or len(id) > 200 or not id.isprintable():
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

"""The JSON form of our dataclasses: the data that stands for a value, and its JSON Schema.

It is what pydantic writes for them. To write it takes no pydantic, whose models of all events take long to build; to
read it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def to_data(value: Any) -> Any:
    """Return the JSON data of a dataclass, or of a value in one. Raises ``TypeError`` for what has no such form."""
    kind = type(value)
    if value is None or kind in (str, int, bool):
        return value
    if kind is float:
        return value if isfinite(value) else None  # JSON has no infinity
    if kind in (tuple, list):
        return [to_data(item) for item in value]
    if isinstance(value, Mapping):
        return {to_data(name): to_data(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return {field.name: to_data(getattr(value, field.name)) for field in fields(value)}


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of what pydantic writes for a type that is a union, field docstrings included."""
    from pydantic import ConfigDict, TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(use_attribute_docstrings=True))
    schema: dict[str, Any] = _without_titles(adapter.json_schema(mode="serialization"))
    return schema


def _without_titles(schema: Any) -> Any:
    """Leave out pydantic's titles, which repeat the names of fields and classes."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = ("properties", "$defs")
    return {
        key: {name: _without_titles(inner) for name, inner in value.items()} if key in named else _without_titles(value)
        for key, value in schema.items()
        if key != "title"
    }

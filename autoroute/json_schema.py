"""JSON Schema of our dataclasses, with their docstrings as descriptions."""

from __future__ import annotations

from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"


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

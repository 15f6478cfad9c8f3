"""The JSON schema of a tool's arguments as models receive it, plain enough for every vendor."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

# Left out: titles and nulls, which carry no information, and upper bounds, which we check ourselves. Servers that
# compile schemas to grammars unroll upper bounds.
_OMITTED = frozenset({"title", "default", "maxLength", "maxItems"})


def json_schema(model: type[BaseModel]) -> str:
    """Return the schema of ``model`` as JSON text: references inlined, optional fields without null, keys sorted.

    The model must not contain itself.
    """
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})
    schema.pop("description", None)
    return json.dumps(_simplify(schema, definitions), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _simplify(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        (not_null,) = (choice for choice in schema["anyOf"] if choice != {"type": "null"})
        schema = {**not_null, **{key: value for key, value in schema.items() if key != "anyOf"}}
    simple = {key: value for key, value in schema.items() if key not in _OMITTED}
    if "properties" in simple:
        simple["properties"] = {name: _simplify(value, definitions) for name, value in simple["properties"].items()}
    if "items" in simple:
        simple["items"] = _simplify(simple["items"], definitions)
    return simple

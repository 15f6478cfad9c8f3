"""The JSON schema that a model is shown for a tool's arguments, plain enough for every vendor."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

# What the schema leaves out: names and nulls that say nothing, and upper bounds, which we check ourselves: servers that
# turn schemas into grammars unroll them.
_SILENT = frozenset({"title", "default", "maxLength", "maxItems"})


def json_schema(model: type[BaseModel]) -> str:
    """The schema of ``model`` as JSON text: references inlined, optional fields without null, keys sorted.

    The model must not contain itself.
    """
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})
    schema.pop("description", None)
    return json.dumps(_plain(schema, definitions), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        (only,) = (choice for choice in schema["anyOf"] if choice != {"type": "null"})
        schema = {**only, **{key: value for key, value in schema.items() if key != "anyOf"}}
    plain = {key: value for key, value in schema.items() if key not in _SILENT}
    if "properties" in plain:
        plain["properties"] = {name: _plain(value, definitions) for name, value in plain["properties"].items()}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    return plain

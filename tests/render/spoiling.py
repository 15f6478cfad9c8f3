"""An event with hostile words in it."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

FIXED = {
    "type",
    "role",
    "kind",
    "level",
    "outcome",
    "artifact",
    "effort",
    "limit",
    "action",
    "by",
    "decision",
    "runner",
}
"""Fields whose values are of a closed set: of a journal, none other is taken."""


def spoil(value: Any, words: str) -> Any:
    """The value with these words after every string that may be from elsewhere."""
    if isinstance(value, Enum) or value is None:
        return value
    if isinstance(value, str):
        return value + words
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        changed = {name: spoil(getattr(value, name), words) for name in names if name not in FIXED}
        return type(value)(**{name: getattr(value, name) for name in names} | changed)
    if isinstance(value, tuple):
        return tuple(spoil(item, words) for item in value)
    if isinstance(value, dict):
        return {key: spoil(item, words) for key, item in value.items()}
    return value

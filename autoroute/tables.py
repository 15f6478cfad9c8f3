"""Nested tables of settings, as TOML has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def merge(below: Mapping[str, Any], above: Mapping[str, Any], *, lists_to_join: Collection[str] = ()) -> dict[str, Any]:
    """Return ``below`` with the values of ``above`` in place of its own, table by table.

    A list replaces the other list. The lists under the keys ``lists_to_join`` are joined instead.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value, lists_to_join=lists_to_join)
        elif key in lists_to_join:
            merged[key] = [*(old or []), *value]
        else:
            merged[key] = value
    return merged

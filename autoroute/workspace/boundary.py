"""The one map of what a run may touch, for its file tools and its shell alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Boundary:
    """``root`` is what is written."""

    root: Path

"""Regular expressions that are compiled when they are first used.

A command uses few of some hundred, and compiling them all took a tenth of its start.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


def pattern(expression: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what ``re.compile`` returns, as far as its methods and attributes go."""
    return cast("re.Pattern[AnyStr]", _LaterPattern(expression, flags))


class _LaterPattern:
    def __init__(self, expression: Any, flags: int) -> None:
        self._source = expression, flags

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the compiled expression; it is found directly the next time."""
        found = getattr(re.compile(*self._source), name)
        setattr(self, name, found)
        return found

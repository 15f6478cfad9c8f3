"""Durations as people write them: 90s, 15m, 1h30m."""

import re

UNITS = {"s": 1, "m": 60, "h": 3600}

_PART = re.compile(r"(\d+)\s*([smh])")


def parse(text):
    """Return the seconds in a duration such as ``1h30m``."""
    return sum(int(number) * UNITS[unit] for number, unit in _PART.findall(text))


def spell(seconds):
    """Return the shortest way to write a number of seconds."""
    words = []
    for unit, size in sorted(UNITS.items(), key=lambda item: -item[1]):
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"

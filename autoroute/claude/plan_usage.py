"""How much of a Claude subscription is used: the ``rate_limit_event`` lines of Claude Code (fields as of 2.1.330)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from autoroute.errors import Limit
from autoroute.wire.payload import as_object, as_text

WINDOWS: Mapping[str, tuple[Limit, bool]] = MappingProxyType(
    {
        "five_hour": ("five_hour", True),
        "seven_day": ("week", True),
        "seven_day_overage_included": ("week", False),  # one family of models, whose plan includes some extra usage
        "seven_day_opus": ("week", False),
        "seven_day_sonnet": ("week", False),
        "overage": ("spend", True),
    }
)
"""``rateLimitType`` -> the limit, and whether it covers all models of the account."""
_UNKNOWN_WINDOW: tuple[Limit, bool] = ("plan", True)


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """One usage window of a subscription. ``used`` is a fraction from 0 to 1, None if unknown."""

    type: str
    status: str
    resets_at: datetime | None
    used: float | None = None

    @property
    def limit(self) -> Limit:
        """The limit that the window stands for."""
        return WINDOWS.get(self.type, _UNKNOWN_WINDOW)[0]

    @property
    def whole_account(self) -> bool:
        """Whether the window covers all models of the account."""
        return WINDOWS.get(self.type, _UNKNOWN_WINDOW)[1]


@dataclass(frozen=True, slots=True)
class PlanUsage:
    """What a ``rate_limit_event`` reports about an account.

    ``deciding`` is the window that decides now, ``windows`` are all that are known. ``is_paid`` says that the account
    is beyond its plan and pays for extra usage.
    """

    deciding: UsageWindow | None = None
    windows: tuple[UsageWindow, ...] = ()
    is_paid: bool = False


def read_usage(info: Mapping[str, object]) -> PlanUsage:
    """Return the usage in the ``rate_limit_info`` of an event. Malformed fields are left out."""
    each = as_object(info.get("unifiedWindows"))
    windows = tuple(_window(name, as_object(window)) for name, window in each.items())
    name = as_text(info.get("rateLimitType"))
    deciding = _window(name, info) if name else None
    return PlanUsage(deciding, windows, info.get("isUsingOverage") is True)


def _window(name: str, data: Mapping[str, object]) -> UsageWindow:
    used = _number(data.get("utilization"))
    return UsageWindow(name, as_text(data.get("status")), _time(data.get("resetsAt")), used)


def _time(value: object) -> datetime | None:
    """Return seconds since 1970 as a time in UTC, None for anything else."""
    seconds = _number(value)
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None

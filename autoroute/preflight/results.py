"""A row of what was found, the same for ``run`` and ``doctor``, and the error that the worst of them makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from autoroute.errors import (
    AutorouteError,
    CapabilityError,
    ExitCode,
    LimitReached,
    Unauthorized,
    Unreachable,
    WorkspaceError,
)

Status = Literal["ok", "warning", "error", "skipped"]

_WORST_FIRST = (
    ExitCode.WORKSPACE,
    ExitCode.CREDENTIALS,
    ExitCode.CONFIGURATION,
    ExitCode.UNAVAILABLE,
    ExitCode.LIMITED,
)
_ERRORS: Mapping[ExitCode, Callable[..., AutorouteError]] = MappingProxyType(
    {
        ExitCode.WORKSPACE: WorkspaceError,
        ExitCode.CREDENTIALS: Unauthorized,
        ExitCode.CONFIGURATION: CapabilityError,
        ExitCode.UNAVAILABLE: Unreachable,
        ExitCode.LIMITED: LimitReached,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check and what came of it. ``id`` is stable: ``route.zai/glm-4.7.default.key``, ``git``.

    ``summary`` is for people, ``remediation`` what mends it; ``exit_code`` is what an error ends the process with.
    """

    id: str
    category: str
    status: Status
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)
    remediation: str = ""
    duration_ms: int = 0
    exit_code: ExitCode = ExitCode.CONFIGURATION

    def as_json(self) -> dict[str, Any]:
        """The row of ``doctor --json``."""
        return {
            "id": self.id,
            "category": self.category,
            "status": self.status,
            "summary": self.summary,
            "details": dict(self.details),
            "remediation": self.remediation,
            "duration_ms": self.duration_ms,
        }


def worst_exit_code(findings: Sequence[CheckResult]) -> ExitCode:
    """What the process ends with."""
    codes = {finding.exit_code for finding in findings if finding.status == "error"}
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.APPROVED)


def raise_for_errors(findings: Sequence[CheckResult]) -> None:
    """Raise one error for all that is wrong, if anything is."""
    errors = [finding for finding in findings if finding.status == "error"]
    if not errors:
        return
    lines = list(dict.fromkeys(_line(finding) for finding in errors))
    hints = list(dict.fromkeys(finding.remediation for finding in errors if finding.remediation))
    raise _ERRORS[worst_exit_code(findings)]("\n".join(lines), hint="; ".join(hints))


def _line(finding: CheckResult) -> str:
    phases = ", ".join(finding.details.get("phases", ()))
    route = finding.details.get("route", "")
    account = finding.details.get("account", "default")
    whom = f"{phases} ({route}{f', account {account}' if account != 'default' else ''}): " if route else ""
    return f"{whom}{finding.summary}"

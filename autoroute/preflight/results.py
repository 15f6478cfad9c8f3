"""The result of a check, the same for ``run`` and ``doctor``, and the error for the worst of several results."""

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
    """The result of one check. ``id`` is stable: ``route.zai/glm-4.7.default.key``, ``git``.

    ``summary`` is for people, ``remediation`` says how to fix a problem. ``exit_code`` is that of the process if
    ``status`` is ``error``.
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
        """Return the row of ``doctor --json``."""
        return {
            "id": self.id,
            "category": self.category,
            "status": self.status,
            "summary": self.summary,
            "details": dict(self.details),
            "remediation": self.remediation,
            "duration_ms": self.duration_ms,
        }


def error_result(
    id: str, category: str, error: AutorouteError, details: Mapping[str, Any] | None = None
) -> CheckResult:
    """Return the result for an error that would end a run."""
    return CheckResult(
        id=id,
        category=category,
        status="error",
        summary=error.message,
        remediation=error.hint,
        details=details or {},
        exit_code=error.exit_code,
    )


def worst_exit_code(results: Sequence[CheckResult]) -> ExitCode:
    """Return the exit code for these results: that of the worst error, or ``APPROVED`` without an error."""
    codes = {result.exit_code for result in results if result.status == "error"}
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.APPROVED)


def raise_for_errors(results: Sequence[CheckResult]) -> None:
    """Raise one ``AutorouteError`` for all errors among the results, of the class of the worst one."""
    errors = [result for result in results if result.status == "error"]
    if not errors:
        return
    lines = list(dict.fromkeys(_line(result) for result in errors))
    hints = list(dict.fromkeys(result.remediation for result in errors if result.remediation))
    raise _ERRORS[worst_exit_code(results)]("\n".join(lines), hint="\n".join(hints))


def _line(result: CheckResult) -> str:
    """Return the summary with the phases, route and account that it concerns."""
    phases = ", ".join(result.details.get("phases", ()))
    route = result.details.get("route", "")
    account = result.details.get("account", "default")
    subject = f"{phases} ({route}{f', account {account}' if account != 'default' else ''}): " if route else ""
    return f"{subject}{result.summary}"

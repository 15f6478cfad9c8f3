"""What was found, as a table on standard output: for doctor and for a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoroute.cli.console import say

if TYPE_CHECKING:
    from autoroute.preflight.results import CheckResult

_MARKS = {"ok": "ok", "warning": "warning", "error": "ERROR", "skipped": "-"}


def show_check_results(findings: Sequence[CheckResult]) -> None:
    """The rows as a table on standard output, grouped by route, each problem with what mends it."""
    from autoroute.render.clean import clean_line

    group = ""
    for finding in findings:
        route = finding.details.get("route", "")
        phases = ", ".join(finding.details.get("phases", ()))
        heading = f"{phases}: {route}, account {finding.details['account']}" if route else ""
        if heading != group:
            say(f"\n{clean_line(heading, 200)}")
            group = heading
        say(f"  {_MARKS[finding.status]:<8} {finding.category:<11} {clean_line(finding.summary, 400)}")
        if finding.remediation and finding.status != "ok":
            say(f"  {'':<8} {'':<11} -> {clean_line(finding.remediation, 400)}")

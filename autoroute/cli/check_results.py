"""The table of check results on standard output, for doctor and for a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoroute.cli.console import say

if TYPE_CHECKING:
    from autoroute.preflight.results import CheckResult

_STATUS_WORDS = {"ok": "ok", "warning": "warning", "error": "ERROR", "skipped": "-"}
_MAX_HEADING_CHARACTERS = 200
_MAX_TEXT_CHARACTERS = 400


def show_check_results(results: Sequence[CheckResult]) -> None:
    """Print a row for each result, grouped by route, and below each problem how to fix it."""
    from autoroute.render.clean import clean_line

    group = ""
    for result in results:
        route = result.details.get("route", "")
        phases = ", ".join(result.details.get("phases", ()))
        heading = f"{phases}: {route}, account {result.details['account']}" if route else ""
        if heading != group:
            say(f"\n{clean_line(heading, _MAX_HEADING_CHARACTERS)}")
            group = heading
        summary = clean_line(result.summary, _MAX_TEXT_CHARACTERS)
        say(f"  {_STATUS_WORDS[result.status]:<8} {result.category:<11} {summary}")
        if result.remediation and result.status != "ok":
            say(f"  {'':<8} {'':<11} -> {clean_line(result.remediation, _MAX_TEXT_CHARACTERS)}")

"""A receipt as lines for people: ``autoroute show``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autoroute.error_phrases import ERRORS, LIMITS
from autoroute.receipt import DecisionRow, GateRow, PhaseRow, Receipt
from autoroute.render.labels import KINDS, describe_canary
from autoroute.text import join_first

_MAX_LEFT_BEHIND = 10


def receipt_lines(receipt: Receipt, folder: Path) -> list[str]:
    """Return the receipt of the run in this folder: verdict, phases and routes, decisions, commands, branch, cost."""
    message = receipt.message or "still running or interrupted"
    lines = [receipt.title, f"{receipt.outcome or 'unfinished'}: {message}", ""]
    for row in receipt.phases:
        lines += _phase(row)
    if receipt.decisions or receipt.gates:
        lines += ["", *map(_decision, receipt.decisions), *map(_gate, receipt.gates)]
    if receipt.baseline:
        lines += ["", *(f"before the work: {KINDS[row.kind]}: {row.command}" for row in receipt.baseline)]
    lines += ["", *(f"{'passed' if row.passed else 'FAILED'}  {row.command}" for row in receipt.verification)]
    if receipt.left_behind:
        lines.append(f"not in the commit: {join_first(receipt.left_behind, _MAX_LEFT_BEHIND)}")
    if receipt.canary is not None:
        lines.append(f"canary  {describe_canary(receipt.canary)}")
    if receipt.sandbox:
        lines.append(f"sandbox {receipt.sandbox}")
    if receipt.commit:
        lines += ["", f"branch {receipt.branch}, {_count(receipt.commits, 'commit')}, tip {receipt.commit[:12]}"]
    lines += [f"runs automatically: {path} ({when})" for path, when in receipt.auto_executed.items()]
    prices = f" ({receipt.prices})" if receipt.prices else ""
    return [*lines, f"cost {_usd(receipt.cost_usd)}{prices}", f"folder {folder}"]


def _phase(row: PhaseRow) -> Iterator[str]:
    served = ", ".join(name or "(not named)" for name in row.served) or "(nothing)"
    yield f"{row.phase:<9} {row.provider}/{row.model} (requested as {row.requested}), served by {served}"
    tokens = row.tokens
    cached = tokens.cache_read + tokens.cache_write
    retries = f", {row.retries} retries" if row.retries else ""
    yield (
        f"          {row.host}, account {row.account}; {_count(row.requests, 'request')}{retries}; "
        f"{tokens.input} in, {cached} cached, {tokens.output} out; {_usd(row.cost_usd)}; {row.seconds:.1f} s"
    )


def _decision(row: DecisionRow) -> str:
    actions = {
        "wait": f"waited {row.waited or 0:.0f} s for {row.to}",
        "switch": f"switched to account {row.to_account}",
        "fallback": f"fell back to {row.to}",
        "park": f"parked the run for {row.waited or 0:.0f} s",
        "stop": "the run stopped",
    }
    reason = LIMITS.get(row.limit) or ERRORS.get(row.error, row.error)
    by = "a person chose it" if row.by == "person" else "by the settings"
    return f"{row.phase:<9} {row.route} (account {row.account}), {reason}: {actions[row.action]}; {by}"


def _gate(row: GateRow) -> str:
    return f"{row.phase:<9} {row.decision} by a person{f': {row.words}' if row.words else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _usd(cost: float | None) -> str:
    return "not known" if cost is None else f"${cost:.4f}"

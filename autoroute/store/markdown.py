"""Artifacts as documents that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoroute.invisible import to_plain

Content = Mapping[str, Any]


def spec_document(spec: Content) -> str:
    """``spec.md``."""
    acceptance = [f"**{criterion['id']}** {criterion['text']}" for criterion in spec["acceptance"]]
    return _document(
        spec["title"],
        spec["summary"],
        {
            "Requirements": spec["requirements"],
            "Acceptance": acceptance,
            "Assumptions": spec["assumptions"],
            "Out of scope": spec["out_of_scope"],
        },
    )


def review_document(review: Content) -> str:
    """``qa.md``."""
    criteria = [
        f"**{criterion['id']}** {'met' if criterion['met'] else 'NOT met'}: {criterion['evidence']}"
        for criterion in review["criteria"]
    ]
    issues = [
        f"**{issue['severity']}** {issue['file']}{':' + str(issue['line']) if issue.get('line') else ''}: "
        f"{issue['problem']} Fix: {issue['fix']}"
        for issue in review["issues"]
    ]
    return _document(f"Review: {review['verdict']}", review["summary"], {"Criteria": criteria, "Issues": issues})


def _document(title: str, summary: str, lists: Mapping[str, Sequence[str]]) -> str:
    sections = [f"# {title}", summary]
    for heading, items in lists.items():
        if items:
            sections += [f"## {heading}", "\n".join(f"- {_indented(item)}" for item in items)]
    # An editor or a terminal that shows the file must not be told anything by the model.
    return to_plain("\n\n".join(sections) + "\n")


def _indented(text: str) -> str:
    return "\n  ".join(text.strip().splitlines())

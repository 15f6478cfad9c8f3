"""The vendors' own parameter types as judges of what a run sends."""

from __future__ import annotations

from autoroute.demo.server import RecordedRequest
from tests.wire.oracle import assert_valid

WIRES = {
    "/v1/messages": "anthropic-messages",
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
}


def assert_valid_request(request: RecordedRequest) -> None:
    """Raises when a request body is not what the vendor's SDK would send."""
    if request.method == "POST":
        assert_valid(next(wire for end, wire in WIRES.items() if request.path.endswith(end)), request.body)

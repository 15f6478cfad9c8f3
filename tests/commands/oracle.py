"""The vendors' own parameter types as judges of what a run sends."""

from __future__ import annotations

from autoroute.demo.server import Recorded
from tests.wire.oracle import assert_valid


def assert_valid_request(request: Recorded) -> None:
    """Raises when a request body is not what the vendor's SDK would send."""
    if request.method == "POST":
        wire = "anthropic-messages" if request.path.endswith("/messages") else "openai-chat"
        assert_valid(wire, request.body)

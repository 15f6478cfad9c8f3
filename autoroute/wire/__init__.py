"""How models are spoken to: one transport (``http.py``), one codec a protocol, one row each in ``_ADAPTERS``.

The engine knows this seam and no adapter behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from autoroute.messages import Delta, Reply, Request


class Model(Protocol):
    """One model of one account, ready to be asked."""

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn: deltas as they arrive, then the complete reply as the last item.

        Raises a ``ProviderError``, also in the middle; nothing of a turn that raised was answered.
        Closing the iterator ends the request.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...

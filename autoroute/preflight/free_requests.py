"""Requests that cost nothing, each sent once for an account, however many routes need its response."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from autoroute import wire
from autoroute.routing import Clocks, ProviderProfile, Route, Secret


@dataclass(slots=True)
class FreeRequests:
    """The responses to free requests; safe to use from several threads at once."""

    clocks: Clocks
    _responses: dict[tuple[str, str, str], Future[wire.JsonResponse]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, profile: ProviderProfile, path: str, route: Route, secret: Secret | None) -> wire.JsonResponse:
        """Return the response to a GET of ``path``. Raises a ``ProviderError``, the same one for each caller."""
        key = (profile.name, route.account, path)
        with self._lock:
            is_first = key not in self._responses
            response = self._responses.setdefault(key, Future())
        if is_first:
            try:
                response.set_result(wire.fetch_json(profile, path, route, secret, self.clocks))
            except BaseException as error:
                response.set_exception(error)  # other threads wait for it, whatever it is
                raise
        return response.result()

"""Rate limits that were met, kept in the state folder until their reset, so that no run here asks before that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from autoroute.atomic import write_private
from autoroute.errors import Busy, Limit, LimitReached, ProviderError
from autoroute.routing import Route

_MAX_COOLDOWN = timedelta(days=35)
"""No known limit lasts longer than a month. A later reset comes from a wrong clock, here or there."""
_MIN_BUSY = timedelta(minutes=2)
"""A shorter overload is over before another run could meet it."""
_ERRORS: Mapping[str, type[LimitReached | Busy]] = MappingProxyType({"LimitReached": LimitReached, "Busy": Busy})


class Cooldown(BaseModel):
    """A limit of one model on one account, as its file holds it. An empty ``model`` is the whole account.

    ``until`` is in UTC, ``message`` is the provider's.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    provider: str
    host: str
    account: str
    model: str
    error: Literal["LimitReached", "Busy"]
    until: AwareDatetime
    message: str
    code: str = ""
    status: int | None = None
    limit: Limit = ""


class Cooldowns:
    """The known limits, each in a small private file. Losing a file costs one request, so no method raises ``OSError``.

    A file's name consists of its route's digest and its end, and the file is valid until then. Processes that record a
    limit of one route at the same time write different files, and the latest end counts. So no lock is needed.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def record(self, route: Route, error: ProviderError) -> None:
        """Remember a provider's limit until its reset, if that is known; a ``Busy`` only if it takes minutes."""
        if not isinstance(error, LimitReached | Busy) or error.retry_at is None or error.by_setting:
            return
        remaining = error.retry_at - self._now()
        minimum = _MIN_BUSY if isinstance(error, Busy) else timedelta()
        if not minimum < remaining <= _MAX_COOLDOWN:
            return
        limited_route = replace(route, model="") if error.whole_account else route
        until, name = error.retry_at.astimezone(UTC), _file_stem(limited_route)
        if any(found.until >= until for _, found in self._active(name)):
            return
        with suppress(OSError, ValueError):
            path = self._folder / f"{name}.{until:%Y%m%dT%H%M%S%f}.json"
            write_private(path, _cooldown(limited_route, error, until).model_dump_json() + "\n")

    def active_limit(self, route: Route) -> LimitReached | Busy | None:
        """Return the limit that applies to the route now, as it was met; None if none is known."""
        active = [found for name in _file_stems(route) for _, found in self._active(name)]
        if not active:
            return None
        last = max(active, key=lambda found: found.until)
        return _ERRORS[last.error](
            last.message,
            provider=route.provider,
            model=route.model,
            account=route.account,
            status=last.status,
            code=last.code,
            retry_at=last.until,
            limit=last.limit,
            whole_account=not last.model,
        )

    def clear(self, route: Route) -> None:
        """Forget the limits of a route, because it answered."""
        for name in _file_stems(route):
            for path, _ in self._active(name):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def list_active(self) -> list[Cooldown]:
        """Return every limit that applies now, one for each model and account, sorted by their names."""
        active = sorted((found for _, found in self._active()), key=lambda found: found.until)
        last = {(found.provider, found.account, found.model, found.host): found for found in active}
        return [last[key] for key in sorted(last)]

    def _active(self, name: str = "") -> Iterator[tuple[Path, Cooldown]]:
        """Yield the files that are valid now, of one route or of all."""
        paths: list[Path] = []
        with suppress(OSError):
            paths = sorted(self._folder.iterdir())
        for path in paths:
            if path.name.startswith(name) and path.suffix == ".json":
                found = self._read(path)
                if found is not None:
                    yield path, found

    def _read(self, path: Path) -> Cooldown | None:
        """Return a file's limit if it applies now. Remove a file that has expired or cannot be parsed."""
        with suppress(OSError):
            try:
                found = Cooldown.model_validate_json(path.read_bytes())
            except ValueError:
                path.unlink()
                return None
            remaining = found.until - self._now()
            if remaining <= timedelta():
                path.unlink()
            elif remaining <= _MAX_COOLDOWN:
                return found.model_copy(update={"until": found.until.astimezone(UTC)})
        return None


def _file_stems(route: Route) -> tuple[str, str]:
    """Return the names of the limits that a route may meet: that of its model, and that of its whole account."""
    return _file_stem(route), _file_stem(replace(route, model=""))


def _file_stem(route: Route) -> str:
    """Return a digest of what a limit depends on: names of providers and models may be invalid as file names."""
    key = json.dumps([route.provider, route.host, route.account, route.model])
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _cooldown(route: Route, error: LimitReached | Busy, until: datetime) -> Cooldown:
    return Cooldown(
        provider=route.provider,
        host=route.host,
        account=route.account,
        model=route.model,
        error="Busy" if isinstance(error, Busy) else "LimitReached",
        until=until,
        # A provider's JSON may contain lone surrogates (\ud800), which UTF-8 cannot encode.
        message=error.message.encode("utf-8", "replace").decode(),
        code=error.code.encode("utf-8", "replace").decode(),
        status=error.status,
        limit=error.limit,
    )

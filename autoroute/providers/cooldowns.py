"""Limits that were met, kept in the state folder until they reset: no run on this machine asks before that."""

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

_LONGEST = timedelta(days=35)
"""A month and some days. What lasts longer is a clock that is wrong, here or there."""
_LEAST_BUSY = timedelta(minutes=2)
"""A shorter overload is over before another run could meet it."""
_KINDS: Mapping[str, type[LimitReached | Busy]] = MappingProxyType({"LimitReached": LimitReached, "Busy": Busy})


class Cooldown(BaseModel):
    """A limit of one model on one account, as its file holds it; of the whole account where ``model`` is "".

    ``until`` is in UTC, ``message`` the provider's.
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
    """A small private file for each limit. Losing one costs a request, so nothing here is an error.

    A file is named for its route and its end, and stands until then. Whoever keeps a limit of the same route at the
    same time writes another one, and the later end holds: processes need no lock, and none waits for another.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def keep(self, route: Route, error: ProviderError) -> None:
        """Remember a provider's limit until its reset, when that is known; a ``Busy`` only when it takes minutes."""
        if not isinstance(error, LimitReached | Busy) or error.retry_at is None or error.by_setting:
            return
        ahead = error.retry_at - self._now()
        least = _LEAST_BUSY if isinstance(error, Busy) else timedelta()
        if not least < ahead <= _LONGEST:
            return
        met_by = replace(route, model="") if error.whole_account else route
        until, name = error.retry_at.astimezone(UTC), _name(met_by)
        if any(found.until >= until for _, found in self._found(name)):
            return
        with suppress(OSError, ValueError):
            path = self._folder / f"{name}.{until:%Y%m%dT%H%M%S%f}.json"
            write_private(path, _cooldown(met_by, error, until).model_dump_json() + "\n")

    def limited(self, route: Route) -> LimitReached | Busy | None:
        """The limit that holds now, as it was met; None when none is known."""
        held = [found for name in _names(route) for _, found in self._found(name)]
        if not held:
            return None
        last = max(held, key=lambda found: found.until)
        return _KINDS[last.error](
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

    def forget(self, route: Route) -> None:
        """It answered all the same."""
        for name in _names(route):
            for path, _ in self._found(name):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def known(self) -> list[Cooldown]:
        """Everything that holds now, one for each model and account, in the order of their names."""
        held = sorted((found for _, found in self._found()), key=lambda found: found.until)
        last = {(found.provider, found.account, found.model, found.host): found for found in held}
        return [last[place] for place in sorted(last)]

    def _found(self, name: str = "") -> Iterator[tuple[Path, Cooldown]]:
        """Files that hold now, of one route or of all."""
        paths: list[Path] = []
        with suppress(OSError):
            paths = sorted(self._folder.iterdir())
        for path in paths:
            if path.name.startswith(name) and path.suffix == ".json":
                found = self._read(path)
                if found is not None:
                    yield path, found

    def _read(self, path: Path) -> Cooldown | None:
        """What a file says, if it holds now; a file that is over, or says nothing, is removed."""
        with suppress(OSError):
            try:
                found = Cooldown.model_validate_json(path.read_bytes())
            except ValueError:
                path.unlink()
                return None
            ahead = found.until - self._now()
            if ahead <= timedelta():
                path.unlink()
            elif ahead <= _LONGEST:
                return found.model_copy(update={"until": found.until.astimezone(UTC)})
        return None


def _names(route: Route) -> tuple[str, str]:
    """Of the limits that a route may meet: of its model, and of its whole account."""
    return _name(route), _name(replace(route, model=""))


def _name(route: Route) -> str:
    """By everything that a limit is about; names of providers and models need not be names of files."""
    about = json.dumps([route.provider, route.host, route.account, route.model])
    return hashlib.sha256(about.encode()).hexdigest()[:32]


def _cooldown(route: Route, error: LimitReached | Busy, until: datetime) -> Cooldown:
    return Cooldown(
        provider=route.provider,
        host=route.host,
        account=route.account,
        model=route.model,
        error="Busy" if isinstance(error, Busy) else "LimitReached",
        until=until,
        # JSON of a provider can spell halves of characters, which no file can hold.
        message=error.message.encode("utf-8", "replace").decode(),
        code=error.code.encode("utf-8", "replace").decode(),
        status=error.status,
        limit=error.limit,
    )

"""What is proved before a token is spent: that every phase and every fallback has its key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from autoroute.errors import Unauthorized
from autoroute.providers.credentials import MissingKey

if TYPE_CHECKING:
    from autoroute.routing import Phase, Route, RunConfig, Secret


class Keys(Protocol):
    """Finds the key of a route."""

    def find(self, route: Route) -> Secret | MissingKey | None:
        """The key, what was looked for, or None when none is needed."""
        ...


def check(config: RunConfig, keys: Keys) -> None:
    """Raise one ``Unauthorized`` for all keys that are missing: which phases need them, and what to do."""
    missing: dict[str, MissingKey] = {}
    needed_by: dict[str, dict[str, list[Phase]]] = {}
    for phase, routing in config.phases.items():
        for route in (routing.primary, *routing.fallbacks):
            key = keys.find(route)
            if isinstance(key, MissingKey):
                missing[route.provider] = key
                needed_by.setdefault(route.provider, {}).setdefault(route.model, []).append(phase)
    if missing:
        lines = [_line(key, needed_by[provider]) for provider, key in missing.items()]
        hints = [_hint(key) for key in missing.values()]
        first = next(iter(missing.values()))
        raise Unauthorized("\n".join(lines), provider=first.provider, hint="; ".join(hints))


def _line(key: MissingKey, needed_by: dict[str, list[Phase]]) -> str:
    wanted = "; ".join(f"{', '.join(phases)} with {model}" for model, phases in needed_by.items())
    looked = f"looked at {', '.join(key.looked_at)}" if key.looked_at else "no variable is named for it"
    return f"no key for {key.title} ({key.provider}), which is to do {wanted}: {looked}"


def _hint(key: MissingKey) -> str:
    if not key.variable:
        return f'name the variable that holds it: key_env = ["…"] under [providers.{key.provider}] in your config.toml'
    page = f" (get one at {key.key_page})" if key.key_page else ""
    return f"export {key.variable}=…{page}, or autoroute login {key.provider}"

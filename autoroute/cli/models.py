"""``autoroute models``: what can be named, what it means, what it can do and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.cli.console import say, say_json

if TYPE_CHECKING:
    from autoroute.providers.catalog import Catalog, ModelFacts


def models(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Part of an alias, an id or a provider.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="First fetch sizes and prices of today.")] = False,
    source: Annotated[str, typer.Option(metavar="URL", help="Where --refresh fetches them.")] = "",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file in place of your own config.toml.")
    ] = None,
) -> None:
    """List models: alias, provider and exact id, context, price, abilities. Any other works as provider/model."""
    from autoroute.config.paths import read_environment, refreshed_models_file
    from autoroute.config.resolve import resolve_user_providers
    from autoroute.engine.policy import SystemClock
    from autoroute.providers.catalog import Catalog

    environ = read_environment(harden=True)
    profiles, _ = resolve_user_providers(environ, config, context.obj)
    path = refreshed_models_file(environ)
    if refresh:
        from autoroute import wire
        from autoroute.providers import catalog_refresh
        from autoroute.routing import Clocks

        data = wire.download_json(source or catalog_refresh.SOURCE, Clocks())
        listing = catalog_refresh.convert_listing(data, list(profiles), SystemClock().now().date())
        catalog_refresh.save_listing(path, listing)
        say(f"refreshed {path}", err=True)
    catalog = Catalog(profiles, path)
    rows = [_row(catalog, facts) for facts in catalog.models]
    rows += _own_names(catalog, profiles)
    found = [
        row for row in rows if query.lower() in f"{row['provider']}/{row['id']} {' '.join(row['aliases'])}".lower()
    ]
    if as_json:
        say_json({"as_of": catalog.as_of.isoformat(), "models": found})
        return
    for row in found:
        say(_line(row))
    say(f"{len(found)} models, as of {catalog.as_of}; any other: provider/model", err=True)


def _row(catalog: Catalog, facts: ModelFacts) -> dict[str, Any]:
    data: dict[str, Any] = facts.model_dump(mode="json")
    return {"aliases": catalog.aliases_of(facts), **data}


def _own_names(catalog: Catalog, profiles: Any) -> list[dict[str, Any]]:
    """The names that users gave to models of their providers."""
    rows = []
    for name, profile in profiles.items():
        for written in profile.models:
            resolved = catalog.resolve(f"{name}/{written}")
            known = resolved.facts.model_dump(mode="json") if resolved.facts else {"price": None, "context": None}
            rows.append({"aliases": [written], **known, "provider": name, "id": resolved.id})
    return rows


def _line(row: dict[str, Any]) -> str:
    from autoroute.render.clean import clean_line

    price = row["price"]
    cost = f"${price['input']:g} in, ${price['output']:g} out" if price else "price unknown"
    context = f"{row['context'] // 1000}k" if row["context"] else "?"
    abilities = ["tools" if row.get("tools", True) else "NO TOOLS", *(["effort"] if row.get("effort") else [])]
    retires = f", retires {row['retires']}" if row.get("retires") else ""
    name = f"{row['provider']}/{row['id']}"
    line = f"{', '.join(row['aliases']):<18} {name:<38} {context:>6}  {cost:<24} {', '.join(abilities)}{retires}"
    return clean_line(line, 200) if len(line) > 200 else line.rstrip()

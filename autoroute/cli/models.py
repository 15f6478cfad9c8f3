"""``autoroute models``: the known models with their aliases, sizes, prices and capabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.cli.console import say, say_json

if TYPE_CHECKING:
    from autoroute.providers.catalog import Catalog, ModelFacts

_MAX_LINE_CHARACTERS = 200


def models(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Part of an alias, an id or a provider name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="First download today's sizes and prices.")] = False,
    source: Annotated[str, typer.Option(metavar="URL", help="Where --refresh downloads them from.")] = "",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file to use instead of your config.toml.")
    ] = None,
) -> None:
    """List the known models: alias, provider and exact id, context, price, tools. Write others as provider/model."""
    from autoroute.config.paths import read_environment, refreshed_models_file
    from autoroute.config.resolve import resolve_user_providers
    from autoroute.engine.policy import SystemClock
    from autoroute.providers.catalog import Catalog

    environ = read_environment()
    profiles, _ = resolve_user_providers(environ, config, context.obj)
    path = refreshed_models_file(environ)
    if refresh:
        from autoroute import wire
        from autoroute.providers import catalog_refresh
        from autoroute.routing import Clocks

        data = wire.download_json(source or catalog_refresh.SOURCE, Clocks())
        listing = catalog_refresh.convert_listing(data, list(profiles), SystemClock().now().date())
        catalog_refresh.save_listing(path, listing)
        say(f"wrote today's sizes and prices to {path}", err=True)
    catalog = Catalog(profiles, path)
    rows = [_row(catalog, facts) for facts in catalog.models]
    rows += _user_names(catalog, profiles)
    found = [
        row for row in rows if query.lower() in f"{row['provider']}/{row['id']} {' '.join(row['aliases'])}".lower()
    ]
    if as_json:
        say_json({"as_of": catalog.as_of.isoformat(), "models": found})
        return
    for row in found:
        say(_format(row))
    say(f"{len(found)} models, as of {catalog.as_of}; write any other as provider/model", err=True)


def _row(catalog: Catalog, facts: ModelFacts) -> dict[str, Any]:
    data: dict[str, Any] = facts.model_dump(mode="json")
    return {"aliases": catalog.aliases_of(facts), **data}


def _user_names(catalog: Catalog, profiles: Any) -> list[dict[str, Any]]:
    """Return a row for each name that the user gave to a model of a provider."""
    rows = []
    for name, profile in profiles.items():
        for written in profile.models:
            resolved = catalog.resolve(f"{name}/{written}")
            known = resolved.facts.model_dump(mode="json") if resolved.facts else {"price": None, "context": None}
            rows.append({"aliases": [written], **known, "provider": name, "id": resolved.id})
    return rows


def _format(row: dict[str, Any]) -> str:
    from autoroute.render.clean import clean_line

    price = row["price"]
    cost = f"${price['input']:g} in, ${price['output']:g} out" if price else "price unknown"
    context = f"{row['context'] // 1000}k" if row["context"] else "?"
    capabilities = ["tools" if row.get("tools", True) else "NO TOOLS", *(["effort"] if row.get("effort") else [])]
    retires = f", retires {row['retires']}" if row.get("retires") else ""
    name = f"{row['provider']}/{row['id']}"
    line = f"{', '.join(row['aliases']):<18} {name:<38} {context:>6}  {cost:<24} {', '.join(capabilities)}{retires}"
    return clean_line(line, _MAX_LINE_CHARACTERS) if len(line) > _MAX_LINE_CHARACTERS else line.rstrip()

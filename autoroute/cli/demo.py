"""``autoroute demo``: the whole pipeline on a small repository and scripted models, with no key and no network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.cli.compose import RunOptions, execute, prepare, prove
from autoroute.cli.say import say
from autoroute.errors import UsageError

if TYPE_CHECKING:
    from autoroute.demo.server import Fault
    from autoroute.routing import ProviderProfile, RunConfig

_LONGEST_WAIT = 10.0
"""Seconds that a rehearsal waits for a limit: it shows that a run would."""
_ROUTES = {"plan": {"model": "anthropic/opus-4.5"}, "code": {"model": "zai/glm-4.7"}}


def demo(
    format: Annotated[str, typer.Option(metavar="live|plain|jsonl", help="How progress is shown.")] = "",
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Make the repository there (default: a temporary folder).")
    ] = None,
) -> None:
    """Practise: plan with Claude's protocol, code with GLM's, on scripted models; no key, no network."""
    from autoroute.render.patch import show_patch
    from autoroute.store import RunFolder

    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="autoroute-demo-"))
    project = place / "project"
    if project.exists():
        raise UsageError(f"{project} is there already", hint="autoroute demo --folder ANOTHER")
    say("The models of this demo are scripted; the pipeline, HTTP, git and the tests are real.\n", err=True)
    exit_code = practise(place, format, {"phases": _ROUTES}, {"anthropic": {}, "zai": {}})
    change = RunFolder.open(project, "latest").change()
    if format != "jsonl" and change:
        say()
        show_patch(change)
    way_on = "Go on in" if exit_code == 0 else "They are gone, so this run is not resumed. Look at"
    say(f"\nThe models were scripted, the rest was real. {way_on} the demo's repository:  cd {project}", err=True)
    raise typer.Exit(exit_code)


def rehearse(folder: Path, format: str, config: RunConfig, faults: Sequence[Fault]) -> int:
    """The demo's task with a user's own routes, bounds and providers, all of them played; the exit code."""
    phases = {
        phase.value: {
            "model": routing.primary.name,
            "effort": routing.primary.effort,
            "fallback": [route.name for route in routing.fallbacks],
        }
        for phase, routing in config.phases.items()
    }
    tables = {
        "phases": phases,
        "limits": config.limits.model_dump(),
        "clocks": config.clocks.model_dump(),
        "served_model": config.served_model,
        "recovery": {**config.recovery.model_dump(), "max_wait": min(config.recovery.max_wait, _LONGEST_WAIT)},
    }
    providers = {name: _played(profile) for name, profile in config.providers.items()}
    return practise(folder, format, tables, providers, faults, probe=False)


def _played(profile: ProviderProfile) -> dict[str, Any]:
    """A provider's table for a server of ours: by its wire alone, so that no login and no cloud has a part in it."""
    table: dict[str, Any] = profile.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    own = {"auth": "x-api-key"} if profile.logins else {}
    return {**table, "platform": "", "runner": "native", "logins": False, **own}


def practise(
    folder: Path,
    format: str,
    tables: Mapping[str, Any],
    providers: Mapping[str, Mapping[str, Any]],
    faults: Sequence[Fault] = (),
    *,
    probe: bool | None = None,
) -> int:
    """Make the project, start one server a provider, and run as ``autoroute run`` would; the exit code."""
    import tomli_w

    from autoroute.cli.sandbox import strongest_here
    from autoroute.config.paths import environment
    from autoroute.demo.server import ModelServer
    from autoroute.demo.story import make_project, story

    folder.mkdir(parents=True, exist_ok=True)
    project, settings = folder / "project", folder / "config.toml"
    environ = {name: value for name, value in environment().items() if not name.startswith("AUTOROUTE_")}
    environ |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    make_project(project, environ.get("PATH", os.defpath))
    with ExitStack() as stack:
        played = {}
        for number, (name, table) in enumerate(providers.items()):
            key, variable = f"demo-key-for-{name}", (table.get("key_env") or [f"DEMO_KEY_{number}"])[0]
            mine = [fault for fault in faults if fault.vendor == name]
            server = stack.enter_context(ModelServer(story(), keys={name: key}, faults=mine))
            played[name] = {**table, "base_url": f"{server.url}/{name}/api/v1", "key_env": [variable]}
            environ[variable] = key
        held = {"mode": strongest_here(environ)}
        settings.write_text(tomli_w.dumps({"sandbox": held, **tables, "providers": played}), encoding="utf-8")
        prepared, options = prepare("task.md", {}, environ, project, settings), RunOptions(format=format)
        return execute(prove(prepared, probe, options), options)

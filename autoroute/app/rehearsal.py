"""A run on scripted models: the real pipeline, HTTP, git and tests on a loopback server that plays every provider."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from autoroute.app.plan import CheckedPlan, RunOptions, check_plan, plan_run
from autoroute.app.sandbox import strongest_here
from autoroute.demo.server import ModelServer
from autoroute.demo.story import PHASE_SETTINGS, PROVIDERS, make_project, story

if TYPE_CHECKING:
    from autoroute.demo.server import Fault
    from autoroute.routing import ProviderProfile, RunConfig

_MAX_WAIT_SECONDS = 10.0
"""How long a rehearsal waits for a limit: long enough to show that a run would wait."""


@contextmanager
def open_demo(folder: Path, environ: Mapping[str, str], options: RunOptions) -> Iterator[CheckedPlan]:
    """Yield the checked plan of the demo, in ``folder/project``: Claude plans, GLM codes, both scripted."""
    providers: dict[str, dict[str, Any]] = {name: {} for name in PROVIDERS}
    tables = {"phases": {phase: dict(table) for phase, table in PHASE_SETTINGS.items()}}
    with _rehearse(folder, environ, options, tables, providers, probe=None) as checked:
        yield checked


@contextmanager
def open_rehearsal(
    folder: Path, environ: Mapping[str, str], options: RunOptions, config: RunConfig, faults: Sequence[Fault]
) -> Iterator[CheckedPlan]:
    """Yield the demo's task on a user's own routes, bounds and providers, all of them played, with these faults."""
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
        "recovery": {
            **config.recovery.model_dump(),
            "max_wait": min(config.recovery.max_wait, _MAX_WAIT_SECONDS),
        },
    }
    providers = {name: _played(profile) for name, profile in config.providers.items()}
    with _rehearse(folder, environ, options, tables, providers, faults, probe=False) as checked:
        yield checked


@contextmanager
def _rehearse(
    folder: Path,
    environ: Mapping[str, str],
    options: RunOptions,
    tables: Mapping[str, Any],
    providers: Mapping[str, Mapping[str, Any]],
    faults: Sequence[Fault] = (),
    *,
    probe: bool | None,
) -> Iterator[CheckedPlan]:
    """Make the project, start one server for each provider, and check the plan of its task."""
    folder.mkdir(parents=True, exist_ok=True)
    project, settings = folder / "project", folder / "config.toml"
    own = {name: value for name, value in environ.items() if not name.startswith("AUTOROUTE_")}
    own |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    make_project(project, own.get("PATH", os.defpath))
    with ExitStack() as stack:
        played = {}
        for number, (name, table) in enumerate(providers.items()):
            key, variable = f"demo-key-for-{name}", (table.get("key_env") or [f"DEMO_KEY_{number}"])[0]
            server_faults = [fault for fault in faults if fault.vendor == name]
            server = stack.enter_context(ModelServer(story(), keys={name: key}, faults=server_faults))
            played[name] = {**table, "base_url": f"{server.url}/{name}/api/v1", "key_env": [variable]}
            own[variable] = key
        sandbox = {"mode": strongest_here(own)}
        settings.write_text(tomli_w.dumps({"sandbox": sandbox, **tables, "providers": played}), encoding="utf-8")
        named = RunOptions(user_file=settings, attended=options.attended, command=options.command)
        yield check_plan(plan_run("task.md", own, project, named), probe)


def _played(profile: ProviderProfile) -> dict[str, Any]:
    """Return a provider's table for our own server: reached over its wire only, without a login or a cloud."""
    table: dict[str, Any] = profile.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    auth = {"auth": "x-api-key"} if profile.logins else {}
    return {**table, "platform": "", "runner": "native", "logins": False, **auth}

"""``autoroute doctor``: are all keys, models and tools good, before a token is spent? And a rehearsal of failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.cli.demo import rehearse
from autoroute.cli.findings import show_findings
from autoroute.cli.flags import (
    Budgets,
    CodeRoute,
    ConfigFile,
    Efforts,
    Fallbacks,
    Networks,
    NonInteractive,
    PlanRoute,
    QaRoute,
    SandboxChoice,
    SetupNetworks,
    SpecRoute,
    flags_layer,
    sandbox_layer,
)
from autoroute.cli.parts import open_preflight, runner_opener
from autoroute.cli.say import say, say_json
from autoroute.cli.terminal import is_attended
from autoroute.errors import AutorouteError, UsageError

if TYPE_CHECKING:
    from autoroute.config.resolve import ResolvedConfig
    from autoroute.preflight.results import CheckResult
    from autoroute.redaction import Redactor


def doctor(
    context: typer.Context,
    spec: SpecRoute = "",
    plan: PlanRoute = "",
    code: CodeRoute = "",
    qa: QaRoute = "",
    fallback: Fallbacks = None,
    effort: Efforts = None,
    budget: Budgets = None,
    sandbox: SandboxChoice = "",
    network: Networks = None,
    setup_network: SetupNetworks = None,
    non_interactive: NonInteractive = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try tool calling on every route: a few hundred tokens each.")
    ] = False,
    simulate: Annotated[
        str, typer.Option(metavar="FAULT@PHASE", help="Rehearse a failure on the bundled server: 429@coding.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    config: ConfigFile = None,
) -> None:
    """Check the machine, the settings, and every phase and fallback: credentials, model, limits, tools."""
    from autoroute.config.paths import environment, user_config_file
    from autoroute.preflight.results import worst
    from autoroute.preflight.surroundings import look_around
    from autoroute.redaction import redact_value

    environ, here = environment(), Path.cwd()
    confined = sandbox_layer(sandbox, network, None, setup_network)
    flags = flags_layer(
        {"spec": spec, "plan": plan, "code": code, "qa": qa}, effort, budget, fallback, sandbox=confined
    )
    if simulate:
        raise typer.Exit(_simulate(simulate, flags, environ, config, context.obj))
    root = _root(here, environ)
    files = [config or user_config_file(environ), root / "autoroute.toml"]
    settled = _try_to_settle(root, flags, environ, config, context.obj)
    attended = is_attended(environ, interactive=not non_interactive)
    machine = [*look_around(here, environ, files), _sandbox(settled, here, environ, attended=attended)]
    findings = redact_value([*machine, *_routes(settled, environ, probe=probe)], context.obj.redact)
    if as_json:
        say_json([finding.as_json() for finding in findings])
    else:
        show_findings(findings)
    raise typer.Exit(worst(findings))


def _root(here: Path, environ: Mapping[str, str]) -> Path:
    """The repository's root, or this folder where there is none: a row says so."""
    from autoroute.workspace.repository import Repository

    try:
        return Repository.discover(here, environ).root
    except AutorouteError:
        return here


def _settle(
    root: Path, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None, redactor: Redactor
) -> ResolvedConfig:
    from autoroute.config.resolve import load

    return load(
        repository=root,
        environ=environ,
        flags=flags,
        user_file=config,
        open_runner=runner_opener(environ),
        redactor=redactor,
    )


def _try_to_settle(
    root: Path, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None, redactor: Redactor
) -> ResolvedConfig | AutorouteError:
    try:
        return _settle(root, flags, environ, config, redactor)
    except UsageError:
        raise
    except AutorouteError as error:
        return error


def _sandbox(
    settled: ResolvedConfig | AutorouteError, here: Path, environ: Mapping[str, str], *, attended: bool
) -> CheckResult:
    from autoroute.cli.sandbox import check_sandbox
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.repository import Repository

    settings = SandboxSettings() if isinstance(settled, AutorouteError) else settled.config.sandbox
    try:
        repository = Repository.discover(here, environ)
    except AutorouteError:
        repository = None  # a row says so
    return check_sandbox(settings, environ, repository, attended=attended)


def _routes(
    settled: ResolvedConfig | AutorouteError, environ: Mapping[str, str], *, probe: bool
) -> Sequence[CheckResult]:
    from autoroute.preflight.results import CheckResult
    from autoroute.preflight.surroundings import failed

    if isinstance(settled, AutorouteError):
        return [failed("config", "config", settled)]
    sources = {key: place for key, place in settled.config.sources.items() if not key.startswith("providers.")}
    words = "; ".join(f"{key} from {place}" for key, place in sources.items())
    rows = [CheckResult(id="config.sources", category="config", status="ok", summary=words, details=sources)]
    return [*rows, *open_preflight(settled, environ).run("force" if probe else "cached").findings]


def _simulate(
    wanted: str, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None, redactor: Redactor
) -> int:
    """Run the demo's task with the user's routing and bounds on the bundled server, and let it meet the failure."""
    import tempfile

    from autoroute.demo.simulations import SIMULATIONS
    from autoroute.phases import PHASES, by_name

    name, _, place = wanted.partition("@")
    row = by_name(place)
    if name not in SIMULATIONS or row is None:
        raise UsageError(
            f"--simulate {wanted}: {'no such failure' if row else 'no such phase'}",
            hint=f"{', '.join(SIMULATIONS)} @ {', '.join(phase.value for phase in PHASES)}",
        )
    settled = _settle(_root(Path.cwd(), environ), flags, environ, config, redactor)
    route = settled.config.phases[row.phase].primary
    profile = settled.config.profile(route)
    fault = replace(SIMULATIONS[name](route.provider, profile.wire, route.model), offers=row.submit or "edit")
    say(f"rehearsing {name} in {row.phase} at {route.name}: scripted models, your routing\n", err=True)
    with tempfile.TemporaryDirectory(prefix="autoroute-rehearsal-", ignore_cleanup_errors=True) as folder:
        exit_code = rehearse(Path(folder), "plain", settled.config, [fault])
    say(f"\nthis is how a run of yours would have ended: exit code {exit_code}", err=True)
    say("it was rehearsed in a repository that is gone: no command named above is for yours", err=True)
    return 0

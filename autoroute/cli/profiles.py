"""``autoroute profiles``: the Claude profiles, their logins, their limits, and the order of use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoroute.cli.console import say, say_json
from autoroute.cli.terminal import is_attended
from autoroute.errors import UsageError, WorkspaceError

if TYPE_CHECKING:
    from autoroute.claude.runner import ClaudeCodeRunner
    from autoroute.providers.claude_profiles import ClaudeProfile
    from autoroute.providers.cooldowns import Cooldown

app = typer.Typer(
    help="Claude profiles: list them, log in and out, set the order of use.",
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a profile, as in the list.")]
UserFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings file to use instead of your config.toml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MAX_THREADS = 8
_PROVIDER = "claude"


@app.callback(invoke_without_command=True)
def profiles(context: typer.Context) -> None:
    """List the Claude profiles: logins, limits, order of use. A run uses the first one that is logged in."""
    if context.invoked_subcommand is None:
        list_profiles()


@app.command("list")
def list_profiles(as_json: AsJson = False, config: UserFile = None) -> None:
    """List the profiles in the order of use."""
    from concurrent.futures import ThreadPoolExecutor

    from autoroute.app.services import open_cooldowns
    from autoroute.config.paths import read_environment
    from autoroute.providers.claude_profiles import unknown_order_warnings

    environ = read_environment()
    runner = _open(environ, config)
    limits = [limit for limit in open_cooldowns(environ).list_active() if limit.provider == _PROVIDER]
    with ThreadPoolExecutor(_MAX_THREADS) as pool:
        rows = list(pool.map(lambda profile: _row(runner, profile, limits), runner.profiles))
    if as_json:
        say_json(rows)
    else:
        for position, row in enumerate(rows, start=1):
            _show(position, row)
    for warning in unknown_order_warnings(runner.settings, runner.profiles):
        say(warning, err=True)
    _ = runner.executable  # the profiles are listed first, and then a missing command is an error


@app.command()
def use(name: Name, config: UserFile = None) -> None:
    """Put a profile first in the order of use."""
    _put_first([name], config)


@app.command()
def order(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Profiles in the order of use.")],
    config: UserFile = None,
) -> None:
    """Set which profiles are used first; the others follow."""
    _put_first(names, config)


@app.command()
def login(name: Name = "default", config: UserFile = None) -> None:
    """Log in to a profile with Claude Code's own login, on your terminal. A new name creates a profile."""
    from autoroute.config.paths import read_environment
    from autoroute.providers.claude_profiles import ClaudeProfile, is_valid_label, profiles_folder

    environ = read_environment()
    runner = _open(environ, config)
    profile = next((known for known in runner.profiles if known.label == name), None)
    if profile is None:
        if not is_valid_label(name):
            raise UsageError(f"invalid profile name {name!r}")
        folder = profiles_folder(environ) / name
        profile = ClaudeProfile(name, folder, source=str(folder))
    if profile.token_env:
        raise UsageError(
            f"profile {name} is the token in {profile.token_env}, which needs no login",
            hint="create a new token: claude setup-token",
        )
    if not is_attended(environ):
        raise UsageError(
            "the login needs a terminal", hint="in CI, set CLAUDE_CODE_OAUTH_TOKEN to a token of claude setup-token"
        )
    executable = runner.executable
    if profile.config_dir is not None:
        try:
            profile.config_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise WorkspaceError(f"cannot create folder {profile.config_dir}: {error.strerror}") from None
    raise typer.Exit(executable.run_in_terminal(profile, "auth", "login"))


@app.command()
def logout(name: Name, config: UserFile = None) -> None:
    """Log out of a profile with Claude Code's own logout."""
    from autoroute.config.paths import read_environment
    from autoroute.providers.claude_profiles import find_profile

    runner = _open(read_environment(), config)
    profile = find_profile(name, runner.profiles)
    if profile.token_env:
        raise UsageError(
            f"profile {name} is the token in {profile.token_env}, which has no login", hint=f"unset {profile.token_env}"
        )
    raise typer.Exit(runner.executable.run_in_terminal(profile, "auth", "logout"))


def _open(environ: Mapping[str, str], config: Path | None) -> ClaudeCodeRunner:
    from autoroute.app.services import open_runner
    from autoroute.config.resolve import resolve_user_claude_profiles
    from autoroute.routing import RecoverySettings

    settings, found = resolve_user_claude_profiles(environ, config)
    return open_runner(environ, settings, found, RecoverySettings())


def _put_first(names: Sequence[str], config: Path | None) -> None:
    from autoroute.config.paths import profile_order_file, read_environment
    from autoroute.config.resolve import resolve_user_claude_profiles
    from autoroute.providers.claude_profiles import find_profile, write_order

    environ = read_environment()
    settings, found = resolve_user_claude_profiles(environ, config)
    for name in names:
        find_profile(name, found)
    labels = list(dict.fromkeys((*names, *(profile.label for profile in found))))
    path = profile_order_file(environ)
    try:
        write_order(path, labels)
    except OSError as error:
        raise WorkspaceError(f"cannot write {path}: {error.strerror}") from None
    say(f"order: {', '.join(labels)}")
    if settings.order:
        say(f"the order setting in [claude] overrides this order: {', '.join(settings.order)}", err=True)


def _row(runner: ClaudeCodeRunner, profile: ClaudeProfile, limits: Sequence[Cooldown]) -> dict[str, Any]:
    status = runner.login_status(profile.label)
    own_limits = [
        {"limit": limit.limit, "model": limit.model, "until": limit.until.isoformat(), "message": limit.message}
        for limit in limits
        if limit.account == profile.label
    ]
    return {
        "profile": profile.label,
        "source": profile.source,
        "logged_in": status.logged_in,
        "method": status.method,
        "plan": status.plan,
        "email": status.email,
        "problem": status.problem,
        "limits": own_limits,
    }


def _show(position: int, row: Mapping[str, Any]) -> None:
    from datetime import datetime

    from autoroute.render.clean import clean_line

    def clean(text: str) -> str:
        return clean_line(text, 200)

    state = row["problem"] or f"not logged in; log in: autoroute profiles login {row['profile']}"
    if row["logged_in"]:
        state = ", ".join(filter(None, ("logged in", row["plan"] or row["method"], row["email"])))
    say(f"{position:>2}  {clean(row['profile']):<14} {clean(state)}  ({clean(row['source'])})")
    for limit in row["limits"]:
        until = datetime.fromisoformat(limit["until"]).astimezone()
        scope = clean(limit["model"]) or "all models"
        say(f"    {'':<14} limited until {until:%Y-%m-%d %H:%M %Z} ({scope}): {clean(limit['message'])}")

"""``autoroute profiles``: the Claude profiles there are, who is logged in, what limits them, and in which order."""

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
    help="Claude profiles: which exist, who is logged in, limits, order.", add_completion=False, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A profile, as the list names it.")]
UserFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings file in place of your own config.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
_AT_ONCE = 8
_PROVIDER = "claude"


@app.callback(invoke_without_command=True)
def profiles(context: typer.Context) -> None:
    """Claude profiles: which exist, who is logged in, limits, order. A run begins with the first that is logged in."""
    if context.invoked_subcommand is None:
        list_profiles()


@app.command("list")
def list_profiles(as_json: AsJson = False, config: UserFile = None) -> None:
    """List the profiles in the order of their use."""
    from concurrent.futures import ThreadPoolExecutor

    from autoroute.app.services import open_cooldowns
    from autoroute.config.paths import read_environment
    from autoroute.providers.claude_profiles import unknown_order_warnings

    environ = read_environment(harden=True)
    runner = _open(environ, config)
    known = [limit for limit in open_cooldowns(environ).list_active() if limit.provider == _PROVIDER]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        rows = list(pool.map(lambda profile: _row(runner, profile, known), runner.profiles))
    if as_json:
        say_json(rows)
    else:
        for place, row in enumerate(rows, start=1):
            _show(place, row)
    for words in unknown_order_warnings(runner.settings, runner.profiles):
        say(words, err=True)
    _ = runner.program  # whose absence is an error, once it is known which profiles there are


@app.command()
def use(name: Name, config: UserFile = None) -> None:
    """Make a profile the first one."""
    _put_first([name], config)


@app.command()
def order(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Profiles, the first one first.")],
    config: UserFile = None,
) -> None:
    """Say which profiles come first; the others follow."""
    _put_first(names, config)


@app.command()
def login(name: Name = "default", config: UserFile = None) -> None:
    """Log a profile in, the official way: Claude Code has the terminal. A new name makes a new profile."""
    from autoroute.config.paths import read_environment
    from autoroute.providers.claude_profiles import ClaudeProfile, is_valid_label, profiles_folder

    environ = read_environment(harden=True)
    runner = _open(environ, config)
    profile = next((known for known in runner.profiles if known.label == name), None)
    if profile is None:
        if not is_valid_label(name):
            raise UsageError(f"{name!r} is no name for a profile")
        folder = profiles_folder(environ) / name
        profile = ClaudeProfile(name, folder, source=str(folder))
    if profile.token_env:
        raise UsageError(
            f"profile {name} is the token in {profile.token_env}: there is nothing to log in",
            hint="claude setup-token makes a new one",
        )
    if not is_attended(environ):
        raise UsageError("a login needs a terminal", hint="in CI use CLAUDE_CODE_OAUTH_TOKEN, from claude setup-token")
    program = runner.program
    if profile.config_dir is not None:
        try:
            profile.config_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise WorkspaceError(f"{profile.config_dir} cannot be made: {error.strerror}") from None
    raise typer.Exit(program.hand_over(profile, "auth", "login"))


@app.command()
def logout(name: Name, config: UserFile = None) -> None:
    """Log a profile out, the official way."""
    from autoroute.config.paths import read_environment
    from autoroute.providers.claude_profiles import find_profile

    runner = _open(read_environment(harden=True), config)
    profile = find_profile(name, runner.profiles)
    if profile.token_env:
        raise UsageError(f"profile {name} is the token in {profile.token_env}", hint=f"unset {profile.token_env}")
    raise typer.Exit(runner.program.hand_over(profile, "auth", "logout"))


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

    environ = read_environment(harden=True)
    settings, found = resolve_user_claude_profiles(environ, config)
    for name in names:
        find_profile(name, found)
    labels = list(dict.fromkeys((*names, *(profile.label for profile in found))))
    path = profile_order_file(environ)
    try:
        write_order(path, labels)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}") from None
    say(f"order: {', '.join(labels)}")
    if settings.order:
        say(f"but [claude] order in your settings comes before that: {', '.join(settings.order)}", err=True)


def _row(runner: ClaudeCodeRunner, profile: ClaudeProfile, known: Sequence[Cooldown]) -> dict[str, Any]:
    login = runner.login(profile.label)
    limits = [
        {"limit": limit.limit, "model": limit.model, "until": limit.until.isoformat(), "message": limit.message}
        for limit in known
        if limit.account == profile.label
    ]
    return {
        "profile": profile.label,
        "source": profile.source,
        "logged_in": login.logged_in,
        "method": login.method,
        "plan": login.plan,
        "email": login.email,
        "complaint": login.complaint,
        "limits": limits,
    }


def _show(place: int, row: Mapping[str, Any]) -> None:
    from datetime import datetime

    from autoroute.render.clean import clean_line

    def clean(text: str) -> str:
        return clean_line(text, 200)

    state = row["complaint"] or f"not logged in: autoroute profiles login {row['profile']}"
    if row["logged_in"]:
        state = ", ".join(filter(None, ("logged in", row["plan"] or row["method"], row["email"])))
    say(f"{place:>2}  {clean(row['profile']):<14} {clean(state)}  ({clean(row['source'])})")
    for limit in row["limits"]:
        until = datetime.fromisoformat(limit["until"]).astimezone()
        whom = clean(limit["model"]) or "every model"
        say(f"    {'':<14} limited until {until:%Y-%m-%d %H:%M %Z} ({whom}): {clean(limit['message'])}")

"""Which setup commands a run has: those that the user gave, or, with their consent, what the lock files call for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from autoroute.atomic import replace_file
from autoroute.config.paths import setup_answers_file
from autoroute.errors import ConfigError
from autoroute.parsing import Unreadable, read_object
from autoroute.workspace.lock_files import SetupProposal, propose_setup

if TYPE_CHECKING:
    from autoroute.preflight.results import CheckResult
    from autoroute.routing import SandboxSettings
    from autoroute.workspace.carried import Carried
    from autoroute.workspace.repository import Repository

AUTO, NONE = "auto", "none"
"""Values of ``--setup`` in place of commands: what the lock files call for, or nothing."""
AskForSetup = Callable[[Sequence[SetupProposal]], bool]
"""Asks a person whether to run the commands of the proposals; the answer is kept for the repository."""


def choose_setup(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository,
    carried: Sequence[Carried],
    ask: AskForSetup | None = None,
    *,
    required: bool = True,
) -> tuple[str, ...]:
    """Return the setup commands of a run.

    Without any in the settings, the answer that a person gave for this repository counts, or ``ask`` asks for one.
    Raises ``ConfigError`` if there is neither and the choice is ``required``, and for a missing program.
    """
    proposals = propose_setup(repository.root, carried, environ)
    if settings.setup:
        named: dict[str, Sequence[SetupProposal]] = {AUTO: proposals, NONE: ()}
        lists = (_commands(named[given]) if given in named else [given] for given in settings.setup)
        return tuple(command for commands in lists for command in commands)
    if not proposals:
        return ()
    answers = _read_answers(environ)
    answer = answers.get(str(repository.root))
    if answer is None and ask is not None:
        answer = AUTO if ask(proposals) else NONE
        _keep_answers(environ, {**answers, str(repository.root): answer})
    if answer is None and required:
        raise _unanswered(proposals)
    return tuple(_commands(proposals)) if answer == AUTO else ()


def setup_row(
    settings: SandboxSettings,
    environ: Mapping[str, str],
    repository: Repository,
    carried: Sequence[Carried],
    *,
    attended: bool,
) -> CheckResult:
    """Return what ``choose_setup`` comes to, as a row of doctor; a terminal would be asked."""
    from autoroute.preflight.results import CheckResult, error_result

    try:
        commands = choose_setup(settings, environ, repository, carried)
    except ConfigError as error:
        if not attended:
            return error_result("setup", "machine", error)
        return CheckResult(
            id="setup", category="machine", status="warning", summary=error.message, remediation=error.hint
        )
    summary = f"setup commands: {'; '.join(commands)}" if commands else "no setup command is needed or asked for"
    return CheckResult(id="setup", category="machine", status="ok", summary=summary)


def describe_proposals(proposals: Sequence[SetupProposal]) -> str:
    """Return what is missing, in words."""
    files = " and ".join(proposal.file for proposal in proposals)
    return f"commands would not find the dependencies of {files}: no environment in this checkout has them"


def _unanswered(proposals: Sequence[SetupProposal]) -> ConfigError:
    flags = " ".join(f'--setup "{proposal.command}"' for proposal in proposals)
    missing = _describe_missing(proposals)
    return ConfigError(
        f"{describe_proposals(proposals)}{missing}",
        hint=f"use {flags}, which --setup auto does; or --setup none if commands need none of it",
    )


def _commands(proposals: Sequence[SetupProposal]) -> list[str]:
    if missing := _describe_missing(proposals):
        raise ConfigError(
            f"the setup for this repository cannot run{missing}", hint='install it, or use --setup "COMMAND"'
        )
    return [proposal.command for proposal in proposals]


def _describe_missing(proposals: Sequence[SetupProposal]) -> str:
    missing = [proposal.program for proposal in proposals if not proposal.is_installed]
    return f"; {' and '.join(missing)} not found on PATH" if missing else ""


def _keep_answers(environ: Mapping[str, str], answers: Mapping[str, str]) -> None:
    file = setup_answers_file(environ)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(file, json.dumps(answers, indent=1).encode("ascii"))


def _read_answers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the answer for each repository that a person was asked about, by its path."""
    try:
        found = read_object(setup_answers_file(environ).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Unreadable):
        return {}
    return {path: answer for path, answer in found.items() if answer in (AUTO, NONE)}

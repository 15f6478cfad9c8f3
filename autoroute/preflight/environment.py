"""Doctor's rows beyond the routes: the machine, the sandbox, and the files and variables that configure a run."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from autoroute.errors import AutorouteError, SandboxMissing
from autoroute.preflight.results import CheckResult, error_result
from autoroute.workspace.lfs import describe_filters
from autoroute.workspace.repository import Repository
from autoroute.workspace.sandbox.backends import Candidate, choose_sandbox
from autoroute.workspace.submodules import describe_missing, find_submodules

_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


def check_environment(folder: Path, environ: Mapping[str, str], files: Sequence[Path]) -> Iterator[CheckResult]:
    """Yield a row for each fact. ``files`` are the settings files that are read, in order."""
    yield CheckResult(
        id="python", category="machine", status="ok", summary=f"Python {platform.python_version()}, {sys.platform}"
    )
    yield from _repository(folder, environ)
    ripgrep = shutil.which("rg", path=environ.get("PATH"))
    summary = f"ripgrep at {ripgrep}" if ripgrep else "ripgrep not found: the built-in search is slower"
    yield CheckResult(id="ripgrep", category="machine", status="ok", summary=summary)
    for path in files:
        state = "found" if path.is_file() else "not found (optional)"
        yield CheckResult(id=f"config.{path.name}", category="config", status="ok", summary=f"{path}: {state}")
    yield _proxies(environ)


def sandbox_result(mode: str, candidates: Sequence[Candidate], *, attended: bool) -> CheckResult:
    """Return the row about the sandbox: ``candidates`` are the backends that were tried for ``mode``.

    Without a strong sandbox, the row is a warning if a person can be asked before each command (``attended``), and an
    error if not.
    """
    tried = {candidate.backend.name: candidate.reason or "self-test passed" for candidate in candidates}
    try:
        chosen = choose_sandbox(mode, candidates, attended=attended)
    except SandboxMissing as error:
        return error_result("sandbox", "machine", error, tried)
    if mode == "off":
        return CheckResult(
            id="sandbox",
            category="machine",
            status="warning",
            summary="sandbox is off: model commands run with your permissions",
            remediation="autoroute run --sandbox auto",
        )
    if chosen is None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in tried.items())
        return CheckResult(
            id="sandbox",
            category="machine",
            status="warning",
            summary=f"no sandbox is available: you are asked before each model command ({reasons})",
            remediation="install bubblewrap; a run in CI needs it, or --sandbox off",
            details=tried,
        )
    weaker = chosen.backend.is_weaker and mode == "auto"
    summary = f"sandbox: {chosen.backend.name} (self-test passed)"
    if weaker:
        summary += "; weaker than bubblewrap, so a run in CI has to request it"
    return CheckResult(
        id="sandbox",
        category="machine",
        status="warning" if weaker or chosen.note else "ok",
        summary="; ".join(filter(None, (summary, chosen.note))),
        remediation=f"install bubblewrap, or use --sandbox {chosen.backend.name}" if weaker else "",
        details=tried,
    )


def _repository(folder: Path, environ: Mapping[str, str]) -> Iterator[CheckResult]:
    try:
        repository = Repository.discover(folder, environ)
    except AutorouteError as error:
        yield error_result("git", "machine", error)
        return
    where = repository.branch or (f"commit {repository.head[:12]}" if repository.head else "no commits yet")
    yield CheckResult(id="git", category="machine", status="ok", summary=f"repository {repository.root}, on {where}")
    if told := describe_filters(repository, repository.head):
        yield CheckResult(id="filters", category="machine", status="warning", summary="; ".join(told))
    submodules = find_submodules(repository, repository.head)
    if missing := describe_missing(submodules):
        hints = " && ".join(dict.fromkeys(submodule.hint for submodule in submodules if submodule.hint))
        yield CheckResult(
            id="submodules", category="machine", status="warning", summary="; ".join(missing), remediation=hints
        )
    elif submodules:
        summary = f"{len(submodules)} submodule{'s' if len(submodules) > 1 else ''}, read-only in a run"
        yield CheckResult(id="submodules", category="machine", status="ok", summary=summary)


def _proxies(environ: Mapping[str, str]) -> CheckResult:
    """Return the row for proxy and certificate variables. Only the host of a URL is shown: it may have a password."""
    found = {}
    for name in _PROXY_VARIABLES:
        value = environ.get(name) or environ.get(name.lower())
        if value:
            found[name] = urlsplit(value).hostname or "(set)" if "://" in value else "(set)"
    assignments = ", ".join(f"{name}={host}" for name, host in found.items())
    summary = f"requests use {assignments}" if found else "no proxy or certificate variables are set"
    return CheckResult(id="proxies", category="machine", status="ok", summary=summary, details=found)

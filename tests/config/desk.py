"""The sources of settings in tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from autoroute.config.resolve import ResolvedConfig, resolve_config
from autoroute.config.task import read_task
from autoroute.providers.claude_profiles import ClaudeProfile, ClaudeSettings
from autoroute.routing import Billing, Clocks, Phase, ProviderProfile, RecoverySettings, Route, Secret
from autoroute.wire import Model, RouteCheck, Runner


@dataclass
class Desk:
    """A user's file, a project's file, a task and an environment, from which settings are resolved."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    ready: Sequence[str] | None = None
    """The logins that are logged in; None for no runner."""
    unsure: Sequence[str] = ()
    """Logins of unknown state."""
    paid: Sequence[str] = ()
    """Logins that pay per token."""

    @property
    def user_file(self) -> Path:
        return self.folder / "home/autoroute/config.toml"

    def user(self, text: str) -> None:
        self.user_file.write_text(text, encoding="utf-8")

    def project(self, text: str) -> None:
        (self.folder / "repository/autoroute.toml").write_text(text, encoding="utf-8")

    def task(self, front_matter: str) -> None:
        (self.folder / "repository/task.md").write_text(f"+++\n{front_matter}\n+++\n# Do it\n", encoding="utf-8")

    def load(
        self,
        flags: Mapping[str, Any] | None = None,
        user_file: Path | None = None,
        before: Mapping[Phase, Route] | None = None,
    ) -> ResolvedConfig:
        repository = self.folder / "repository"
        task = repository / "task.md"
        return resolve_config(
            repository=repository,
            environ={"HOME": str(self.folder / "home"), "XDG_CONFIG_HOME": str(self.folder / "home"), **self.environ},
            flags=flags or {},
            user_file=user_file,
            open_runner=self._open_runner if self.ready is not None else None,
            earlier_routes=before,
            task=read_task(task.name, BytesIO(), repository, environ=self.environ) if task.exists() else None,
        )

    def _open_runner(
        self, settings: ClaudeSettings, logins: Sequence[ClaudeProfile], recovery: RecoverySettings
    ) -> Runner:
        self.opened = (settings, tuple(logins), recovery)
        return Logins(self.ready or (), self.unsure, self.paid)


@dataclass
class Logins:
    """A runner that knows the state of logins and does nothing else."""

    ready: Sequence[str]
    unsure: Sequence[str] = ()
    paid: Sequence[str] = ()

    def is_ready(self, account: str) -> bool | None:
        return None if account in self.unsure else account in self.ready

    def billing(self, account: str) -> Billing:
        return "usage" if account in self.paid else "plan"

    def recheck_login(self, route: Route) -> None:
        raise AssertionError(route)

    def check_route(self, profile: ProviderProfile, route: Route) -> Iterator[RouteCheck]:
        raise AssertionError(route)

    def connect(
        self,
        profile: ProviderProfile,
        route: Route,
        secret: Secret | None,
        clocks: Clocks,
        root: Path,
        *,
        until_spent: bool = False,
    ) -> Model:
        raise AssertionError(route)

"""What settings are loaded from in tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from autoroute.config.settle import Settled, load
from autoroute.config.task import read_task


@dataclass
class Desk:
    """A user's file, a project's file, a task and an environment, from which settings are loaded."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def user_file(self) -> Path:
        return self.folder / "home/autoroute/config.toml"

    def user(self, text: str) -> None:
        self.user_file.write_text(text, encoding="utf-8")

    def project(self, text: str) -> None:
        (self.folder / "repository/autoroute.toml").write_text(text, encoding="utf-8")

    def task(self, front_matter: str) -> None:
        (self.folder / "repository/task.md").write_text(f"+++\n{front_matter}\n+++\n# Do it\n", encoding="utf-8")

    def load(self, flags: Mapping[str, Any] | None = None, user_file: Path | None = None) -> Settled:
        repository = self.folder / "repository"
        task = repository / "task.md"
        return load(
            repository=repository,
            environ={"XDG_CONFIG_HOME": str(self.folder / "home"), **self.environ},
            flags=flags or {},
            user_file=user_file,
            task=read_task(task.name, BytesIO(), repository, environ=self.environ) if task.exists() else None,
        )

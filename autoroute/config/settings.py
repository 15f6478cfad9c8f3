"""All settings. Each layer is validated on its own, so that an error names its source, and then merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from autoroute.phases import find_phase
from autoroute.providers.claude_profiles import ClaudeSettings
from autoroute.routing import (
    Budget,
    Clocks,
    Effort,
    Limits,
    Phase,
    RecoverySettings,
    SandboxSettings,
    ServedModel,
    VerifySettings,
    WorkspaceSettings,
)


def _parse_phase(name: object) -> object:
    """Return the phase of a full name (``planning``) or of a flag's name (``plan``)."""
    row = find_phase(name) if isinstance(name, str) else None
    return row.phase if row else name


Gate = Annotated[Phase, BeforeValidator(_parse_phase)]


class PhaseSettings(BaseModel):
    """The table ``[phases.NAME]``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None
    effort: Effort | None = None
    fallback: list[str] | None = None
    budget_usd: float | None = Field(default=None, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)


class PhasesSettings(BaseModel):
    """The table ``[phases]``."""

    model_config = ConfigDict(extra="forbid")

    spec: PhaseSettings = Field(default_factory=PhaseSettings)
    planning: PhaseSettings = Field(default_factory=PhaseSettings)
    coding: PhaseSettings = Field(default_factory=PhaseSettings)
    qa: PhaseSettings = Field(default_factory=PhaseSettings)


class LayerSettings(BaseModel):
    """The settings of one layer. ``providers`` are validated as profiles after the merge."""

    model_config = ConfigDict(extra="forbid")

    served_model: ServedModel = "strict"
    phases: PhasesSettings = Field(default_factory=PhasesSettings)
    budget: Budget = Field(default_factory=Budget)
    limits: Limits = Field(default_factory=Limits)
    clocks: Clocks = Field(default_factory=Clocks)
    recovery: RecoverySettings = Field(default_factory=RecoverySettings)
    sandbox: SandboxSettings = Field(default_factory=SandboxSettings)
    workspace: WorkspaceSettings = Field(default_factory=WorkspaceSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    gates: list[Gate] = Field(default_factory=list)
    claude: ClaudeSettings = Field(default_factory=ClaudeSettings)
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Settings(BaseSettings, LayerSettings):
    """The settings of all layers together. The layers are its only sources: it reads no environment of its own."""

    model_config = SettingsConfigDict(extra="forbid")

    @classmethod
    def merge(cls, layers: Sequence[Mapping[str, Any]]) -> Settings:
        """Merge layers key by key; later layers take precedence."""

        class Layered(cls):  # type: ignore[misc, valid-type]
            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], **_standard: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return tuple(_Layer(settings_cls, layer) for layer in reversed(layers))

        settings: Settings = Layered()
        return settings


class _Layer(PydanticBaseSettingsSource):
    """A layer, as a source for pydantic-settings."""

    def __init__(self, settings: type[BaseSettings], layer: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._layer = layer

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface's
        return self._layer.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._layer)

"""The settings there are. A layer is checked against them alone, so that a complaint names its place; then merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from autoroute.phases import by_name
from autoroute.providers.claude_profiles import ClaudeSettings
from autoroute.routing import Budget, Clocks, Effort, Limits, Phase, RecoverySettings, SandboxSettings, ServedModel


def _phase(name: object) -> object:
    """A phase by its own name or its flag's."""
    row = by_name(name) if isinstance(name, str) else None
    return row.phase if row else name


Gate = Annotated[Phase, BeforeValidator(_phase)]


class PhaseSettings(BaseModel):
    """``[phases.NAME]``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None
    effort: Effort | None = None
    fallback: list[str] | None = None
    budget_usd: float | None = Field(default=None, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)


class PhasesSettings(BaseModel):
    """``[phases]``."""

    model_config = ConfigDict(extra="forbid")

    spec: PhaseSettings = Field(default_factory=PhaseSettings)
    planning: PhaseSettings = Field(default_factory=PhaseSettings)
    coding: PhaseSettings = Field(default_factory=PhaseSettings)
    qa: PhaseSettings = Field(default_factory=PhaseSettings)


class Tables(BaseModel):
    """Every table that a file may have. ``providers`` are checked as profiles, once they are merged."""

    model_config = ConfigDict(extra="forbid")

    served_model: ServedModel = "strict"
    phases: PhasesSettings = Field(default_factory=PhasesSettings)
    budget: Budget = Field(default_factory=Budget)
    limits: Limits = Field(default_factory=Limits)
    clocks: Clocks = Field(default_factory=Clocks)
    recovery: RecoverySettings = Field(default_factory=RecoverySettings)
    sandbox: SandboxSettings = Field(default_factory=SandboxSettings)
    gates: list[Gate] = Field(default_factory=list)
    claude: ClaudeSettings = Field(default_factory=ClaudeSettings)
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Settings(BaseSettings, Tables):
    """All layers together. It reads nothing by itself: the layers are its only sources."""

    model_config = SettingsConfigDict(extra="forbid")

    @classmethod
    def of(cls, layers: Sequence[Mapping[str, Any]]) -> Settings:
        """The settings of these layers, later ones winning, merged key by key."""

        class Layered(cls):  # type: ignore[misc, valid-type]
            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], **_standard: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return tuple(_Layer(settings_cls, layer) for layer in reversed(layers))

        made: Settings = Layered()
        return made


class _Layer(PydanticBaseSettingsSource):
    """A layer as a source of pydantic-settings."""

    def __init__(self, settings: type[BaseSettings], layer: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._layer = layer

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface's
        return self._layer.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._layer)

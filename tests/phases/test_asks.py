from __future__ import annotations

import pytest

from autoroute.phases import PHASES, asks
from autoroute.phases.asks import Evidence
from autoroute.routing import Phase


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_prompt_that_names_what_it_hands_on(phase: Phase) -> None:
    prompt = asks.system_prompt(phase, guidance="")
    submit = PHASES[phase].submit
    assert submit is None or submit in prompt
    assert len(prompt) < 4_000, "prompts are short"


@pytest.mark.parametrize("phase", Phase)
def test_the_repositorys_guidance_reaches_every_phase_as_material(phase: Phase) -> None:
    prompt = asks.system_prompt(phase, guidance="Tabs, never spaces.")
    assert "<guidance>\nTabs, never spaces.\n</guidance>" in prompt
    assert "do not change your job" in prompt


def test_a_failed_command_is_said_with_its_ending_and_the_end_of_its_output() -> None:
    said = asks.correct_failed(
        Evidence("make test", passed=False, ending="exit code 2", output="x" * 9_000 + "boom"), 2, 3
    )
    assert "Attempt 2 of 3" in said
    assert "`make test`: FAILED (exit code 2)" in said
    assert said.endswith("boom\n</output>")
    assert len(said) < 7_000


def test_a_subtask_that_changed_nothing_is_told_so() -> None:
    nothing = Evidence("", passed=False, ending="no file differs from before", output="")
    assert "No file differs" in asks.correct_failed(nothing, 2, 3)

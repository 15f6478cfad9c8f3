"""Spec folders of Auto-Claude: text, title, routes and errors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoroute.config.resolve import resolve_config
from autoroute.config.task import read_task
from autoroute.config.taskfile import TaskFile
from autoroute.errors import AutorouteError, ConfigError, TaskError
from autoroute.routing import Phase, Task
from tests.config.desk import Desk

NAME = ".auto-claude/specs/001-add-a-greeting"
PHASES = [phase.value for phase in Phase]


def put(
    folder: Path, *, spec: str | None = "# Greet\n\nGreet the world.\n", requirements: Any = None, metadata: Any = None
) -> Path:
    """Write a spec folder. JSON that is given as text is written unchanged."""
    place = folder / NAME
    place.mkdir(parents=True, exist_ok=True)
    for name, value in (("spec.md", spec), ("requirements.json", requirements), ("task_metadata.json", metadata)):
        (place / name).unlink(missing_ok=True)
        if value is not None:
            (place / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return place


def read(folder: Path, environ: Mapping[str, str] | None = None, name: str = NAME) -> TaskFile:
    return read_task(name, BytesIO(), folder, environ=environ or {})


def models(file: TaskFile) -> dict[str, str]:
    return {phase: chosen["model"] for phase, chosen in file.settings["phases"].items()}


# The text and its title


def test_the_text_is_the_spec_followed_by_the_requirements(tmp_path: Path) -> None:
    place = put(
        tmp_path,
        requirements={
            "workflow_type": "feature",
            "user_requirements": ["Greet the world", "Greet politely,\nin any language"],
            "task_description": "Add a greeting.",
            "acceptance_criteria": ["It says hello", 3, None, ""],
            "services_involved": [],
            "target_personas": [{"name": "Somebody"}],
            "additional_context": " ",
            "images": None,
            "created_at": "2026-11-23T10:00:00Z",
        },
    )
    file = read(tmp_path)
    assert file.path == place.resolve()
    assert file.name == NAME
    assert file.settings == {}
    assert file.task.text == (
        "# Greet\n\nGreet the world.\n\n"
        "## Task description\n\nAdd a greeting.\n\n"
        "## Workflow type\n\nfeature\n\n"
        "## User requirements\n\n- Greet the world\n- Greet politely,\n  in any language\n\n"
        "## Acceptance criteria\n\n- It says hello\n"
    )


@pytest.mark.parametrize(
    ("spec", "requirements", "title"),
    [
        ("# Greet\n", {"task_description": "Other"}, "Greet"),
        ("# Specification: Greet the world\n", None, "Greet the world"),
        ("# SPEC: Greet\n", None, "Greet"),
        ("Greet.\n", {"task_description": "\n# Say hello\nto all"}, "Say hello"),
        (None, {"task_description": "Say hello"}, "Say hello"),
        ("Greet.\n", {"task_description": 3}, "Add a greeting"),
        ("Greet.\n", None, "Add a greeting"),
        (None, {"user_requirements": ["Greet"]}, "Add a greeting"),
        ("# \x1b[31mRed\n", None, "[31mRed"),
    ],
)
def test_the_title_is_the_heading_or_the_description_or_the_name_of_the_folder(
    tmp_path: Path, spec: str | None, requirements: Any, title: str
) -> None:
    put(tmp_path, spec=spec, requirements=requirements)
    assert read(tmp_path).task.title == title


def test_a_lone_surrogate_is_replaced(tmp_path: Path) -> None:
    put(tmp_path, spec=None, requirements='{"task_description": "Greet \\ud800 all", "\\ud800": ["\\udfff"]}')
    file = read(tmp_path)
    assert file.task.text.encode("utf-8")
    assert file.task.title == "Greet all"


@pytest.mark.parametrize("name", [NAME, f"{NAME}/", f"./{NAME}"])
def test_the_folder_may_end_with_a_slash(tmp_path: Path, name: str) -> None:
    put(tmp_path)
    assert read(tmp_path, name=name).task.source == name.rstrip("/")


# The routes


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, {}),
        ({"sourceType": "manual", "isAutoProfile": True, "priority": 3, "unknown": {"a": [1]}}, {}),
        ({"model": "opus"}, dict.fromkeys(PHASES, "opus")),
        ({"phaseModels": {"coding": "haiku"}}, {"coding": "haiku"}),
        (
            {"model": "sonnet", "isAutoProfile": True, "phaseModels": {"planning": "opus", "coding": None, "qa": ""}},
            {"spec": "sonnet", "planning": "opus", "coding": "sonnet", "qa": "sonnet"},
        ),
        (
            {
                "phaseModels": {"spec": "opus", "planning": "gpt-5.5", "coding": "glm-4.7", "qa": "gemini-3.5-flash"},
                "phaseProviders": {"spec": "claude", "planning": "Codex", "coding": "z.ai", "qa": "gemini"},
            },
            {
                "spec": "opus",
                "planning": "openai/gpt-5.5",
                "coding": "zai/glm-4.7",
                "qa": "google/gemini-3.5-flash",
            },
        ),
        (
            {
                "provider": "openai",
                "model": "gpt-5.5",
                "phaseModels": {"qa": "opus"},
                "phaseProviders": {"qa": "claude"},
            },
            {**dict.fromkeys(PHASES, "openai/gpt-5.5"), "qa": "opus"},
        ),
        ({"provider": "openai"}, {}),
        ({"phaseProviders": {"coding": "zai"}}, {"coding": "zai/"}),
        (
            {"phaseModels": {"coding": "qwen/qwen3-coder"}, "phaseProviders": {"coding": "openrouter"}},
            {"coding": "openrouter/qwen/qwen3-coder"},
        ),
        ({"phaseModels": {"coding": "large"}, "phaseProviders": {"coding": "acme"}}, {"coding": "acme/large"}),
        ({"phaseModels": {"coding": "glm-4.7", "review": 3}}, {"coding": "glm-4.7"}),
        (
            {"model": "claude-opus-4-5-20251101", "provider": "claude"},
            dict.fromkeys(PHASES, "anthropic/claude-opus-4-5-20251101"),
        ),
        ({"model": "claude-opus-4-5-20251101"}, dict.fromkeys(PHASES, "anthropic/claude-opus-4-5-20251101")),
        ({"model": "zai/glm-4.7"}, dict.fromkeys(PHASES, "zai/glm-4.7")),
    ],
)
def test_models_and_providers_become_routes(tmp_path: Path, metadata: dict[str, Any], expected: dict[str, str]) -> None:
    put(tmp_path, metadata=metadata)
    file = read(tmp_path)
    assert (models(file) if file.settings else {}) == expected


OVERRIDES = {f"ANTHROPIC_DEFAULT_{name.upper()}_MODEL": f"claude-{name}-0" for name in ("opus", "sonnet", "haiku")}


@pytest.mark.parametrize(
    ("written", "provider", "plain", "overridden"),
    [
        ("opus", "", "opus", "anthropic/claude-opus-0"),
        ("opus-1m", "", "opus", "anthropic/claude-opus-0"),
        ("opus-4.5", "", "opus-4.5", "opus-4.5"),
        ("sonnet", "", "sonnet", "anthropic/claude-sonnet-0"),
        ("haiku", "", "haiku", "anthropic/claude-haiku-0"),
        ("haiku", "anthropic", "anthropic/haiku", "anthropic/claude-haiku-0"),
        ("opus-1m", "openrouter", "openrouter/opus", "openrouter/claude-opus-0"),
        ("glm-4.7", "", "glm-4.7", "glm-4.7"),
    ],
)
def test_a_variable_may_override_a_short_model_name(
    tmp_path: Path, written: str, provider: str, plain: str, overridden: str
) -> None:
    put(tmp_path, metadata={"phaseModels": {"coding": written}, "phaseProviders": {"coding": provider}})
    assert models(read(tmp_path)) == {"coding": plain}
    assert models(read(tmp_path, dict.fromkeys(OVERRIDES, " "))) == {"coding": plain}
    assert models(read(tmp_path, OVERRIDES)) == {"coding": overridden}


@pytest.mark.parametrize(
    ("level", "effort"),
    [
        ("none", ""),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "high"),
        ("max", "high"),
        ("ultrathink", "high"),
        ("High", "high"),
    ],
)
def test_a_thinking_level_becomes_an_effort(tmp_path: Path, level: str, effort: str) -> None:
    put(tmp_path, metadata={"thinkingLevel": "low", "phaseThinking": {"coding": level, "qa": ""}})
    efforts = {phase: chosen["effort"] for phase, chosen in read(tmp_path).settings["phases"].items()}
    assert efforts == {**dict.fromkeys(PHASES, "low"), "coding": effort}


def test_the_metadata_are_a_layer_like_front_matter(desk: Desk) -> None:
    repository = desk.folder / "repository"
    phases = {"spec": "haiku", "planning": "opus", "coding": "glm-4.7", "qa": "deepseek-v4-pro"}
    providers = {"spec": "claude", "planning": "anthropic", "coding": "z.ai", "qa": "deepseek"}
    metadata = {"phaseModels": phases, "phaseProviders": providers, "phaseThinking": {"planning": "ultrathink"}}
    put(repository, metadata=metadata)
    config = resolve_config(
        repository=repository,
        environ={"XDG_CONFIG_HOME": str(desk.folder / "home")},
        flags={"phases": {"qa": {"model": "openai/gpt-5.5"}}},
        task=read(repository),
    ).config
    assert {phase.value: routing.primary.provider for phase, routing in config.phases.items()} == {
        "spec": "anthropic",
        "planning": "anthropic",
        "coding": "zai",
        "qa": "openai",
    }
    assert config.phases[Phase.PLANNING].primary.effort == "high"
    assert config.sources["phases.coding.model"] == NAME
    assert config.sources["phases.qa.model"] == "--qa"


@pytest.mark.parametrize(
    ("provider", "words", "hint"),
    [("deepseak", "unknown provider 'deepseak'", "deepseek"), ("zai", "model name missing", "zai/")],
)
def test_an_unknown_provider_raises_the_usual_error(desk: Desk, provider: str, words: str, hint: str) -> None:
    repository = desk.folder / "repository"
    given_models = {} if provider == "zai" else {"coding": "deepseek-v4-pro"}
    put(repository, metadata={"phaseModels": given_models, "phaseProviders": {"coding": provider}})
    environ = {"XDG_CONFIG_HOME": str(desk.folder / "home")}
    with pytest.raises(ConfigError, match=words) as caught:
        resolve_config(repository=repository, environ=environ, flags={}, task=read(repository))
    assert NAME in caught.value.message
    assert "coding" in caught.value.message
    assert hint in caught.value.hint


# Errors


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"metadata": '{\n  "model": opus\n}'}, "task_metadata.json is not valid JSON: .* at line 2, column 12"),
        ({"requirements": ""}, "requirements.json is not valid JSON: .* at line 1, column 1"),
        ({"metadata": "[1]"}, "task_metadata.json is a list, not an object"),
        ({"requirements": "null"}, "requirements.json is null, not an object"),
        (
            {"metadata": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"},
            "task_metadata.json is nested more than 64 deep",
        ),
        ({"metadata": '{"a": ' + "9" * 5000 + "}"}, "task_metadata.json is not valid: the number 9+… is too large"),
        ({"metadata": '{"a": "' + "x" * 300_000 + '"}'}, "task_metadata.json is longer than 256 KiB"),
        ({"requirements": '{"a": "' + "x" * 300_000 + '"}'}, "requirements.json is longer than 256 KiB"),
        ({"spec": "x" * 300_000}, "spec.md is longer than 256 KiB"),
        ({"metadata": '{"model": "opus", "model": "haiku"}'}, "ambiguous: model is given more than once"),
        ({"metadata": {"model": 3}}, "task_metadata.json: model must be text, not a number"),
        ({"metadata": {"provider": True}}, "task_metadata.json: provider must be text, not true or false"),
        ({"metadata": {"thinkingLevel": {}}}, "task_metadata.json: thinkingLevel must be text, not an object"),
        ({"metadata": {"phaseModels": "opus"}}, "phaseModels must be an object .* not text"),
        ({"metadata": {"phaseModels": {"coding": ["opus"]}}}, "phaseModels.coding must be text, not a list"),
        ({"metadata": {"phaseProviders": ["zai"]}}, "phaseProviders must be an object .* not a list"),
        ({"metadata": {"phaseThinking": {"qa": 16384}}}, "phaseThinking.qa must be text, not a number"),
        ({"metadata": {"phaseThinking": {"qa": "hihg"}}}, "unknown level 'hihg' in phaseThinking.qa"),
        ({"metadata": {"thinkingLevel": "a lot"}}, "unknown level 'a lot' in thinkingLevel"),
        ({"spec": None, "metadata": {"model": "opus"}}, "has no task: spec.md and requirements.json contain no text"),
        (
            {"spec": " \n", "requirements": {"created_at": "now", "count": 3}},
            "has no task: spec.md and requirements.json contain no text",
        ),
        ({"spec": None}, "but not a spec folder of Auto-Claude: .* spec.md, requirements.json, task_metadata.json"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_invalid_folder_is_an_error_that_says_why(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    put(tmp_path, **files)
    with pytest.raises(TaskError, match=words) as caught:
        read(tmp_path)
    assert caught.value.message.startswith(NAME)


@pytest.mark.parametrize("file", ["spec.md", "requirements.json", "task_metadata.json"])
def test_a_file_that_is_not_utf8_text_is_an_error(tmp_path: Path, file: str) -> None:
    place = put(tmp_path, spec=None)
    (place / file).write_bytes(b'{"model": "caf\xe9"}')
    with pytest.raises(TaskError, match=rf"{file} is not UTF-8 \(byte 14\)"):
        read(tmp_path)
    (place / file).unlink()
    (place / file).mkdir()
    with pytest.raises(TaskError, match=f"{file} is not a regular file"):
        read(tmp_path)
    (place / file).rmdir()
    os.mkfifo(place / file)
    with pytest.raises(TaskError, match=f"{file} is not a regular file"):
        read(tmp_path)


def test_a_link_to_another_file_of_the_user_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("# mine")
    (put(tmp_path, spec=None) / "spec.md").symlink_to(tmp_path / "secret")
    with pytest.raises(TaskError, match=r"spec\.md is a symbolic link"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("path", "changed", "covered"),
    [
        (NAME, f"{NAME}/spec.md", True),
        (NAME, NAME, True),
        (NAME, ".auto-claude", True),
        (NAME, ".auto-claude/specs", False),
        (NAME, ".auto-claude/specs/002-other/spec.md", False),
        (NAME, "src", False),
        ("task.md", "task.md", True),
        ("tasks/task.md", "tasks", False),
        (None, "task.md", False),
    ],
)
def test_only_changes_of_the_task_itself_are_covered(path: str | None, changed: str, covered: bool) -> None:
    root = Path("/repository")
    file = TaskFile(Task("Do", "Do it\n", path or "standard input"), {}, root / path if path else None)
    assert file.covers(root / changed) is covered


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WORD = st.sampled_from(
    ["opus", "opus-1m", "glm-4.7", "zai", "claude", "a/b", "none", "high", "", "\ud800", "x y", "\x00"]
)
BY_PHASE = st.dictionaries(st.sampled_from(PHASES), WORD | ANY_JSON, max_size=4)
HOSTILE = st.fixed_dictionaries(
    {},
    optional={
        "model": WORD | ANY_JSON,
        "provider": WORD | ANY_JSON,
        "thinkingLevel": WORD | ANY_JSON,
        "isAutoProfile": ANY_JSON,
        "phaseModels": BY_PHASE | ANY_JSON,
        "phaseProviders": BY_PHASE | ANY_JSON,
        "phaseThinking": BY_PHASE | ANY_JSON,
        "providers": ANY_JSON,
        "phases": ANY_JSON,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=HOSTILE, requirements=st.dictionaries(st.text(max_size=8), ANY_JSON, max_size=3), override=st.text())
def test_any_metadata_are_routes_or_raise_an_error_with_the_file(
    desk: Desk, metadata: dict[str, Any], requirements: dict[str, Any], override: str
) -> None:
    repository = desk.folder / "repository"
    put(repository, metadata=metadata, requirements=requirements)
    environ = {"XDG_CONFIG_HOME": str(desk.folder / "home"), "ANTHROPIC_DEFAULT_OPUS_MODEL": override}
    with suppress(AutorouteError):
        file = read(repository, environ)
        assert file.task.text.encode("utf-8")
        assert file.task.title.isprintable()
        assert set(file.settings) <= {"phases"}
        resolve_config(repository=repository, environ=environ, flags={}, task=file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_metadata_or_raise_task_error(tmp_path: Path, data: bytes) -> None:
    (put(tmp_path) / "task_metadata.json").write_bytes(data)
    with suppress(TaskError):
        assert read(tmp_path).task.title == "Greet"

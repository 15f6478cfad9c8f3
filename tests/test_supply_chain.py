"""What users install and what workflows run: each by its hash, from where it must come, with no more rights than it needs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import autoroute

ROOT = Path(__file__).parent.parent
INDEX = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/"
EXPORT = "uv export --frozen --no-dev --no-emit-project --no-annotate -o requirements.lock"
HASH = re.compile(r"sha256:[0-9a-f]{64}")
LOCK: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
LOCKED = [package for package in LOCK if package["name"] != "autoroute"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
USES = re.compile(r"uses: *(\S+)(?: +# (v\d+\.\d+\.\d+))?$", re.MULTILINE)


def pins(path: Path) -> dict[str, tuple[str, set[str]]]:
    """Name -> version and hashes, of a file of requirements with hashes."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement, *hashes = line.split("--hash=")
            name, _, version = requirement.partition(";")[0].strip().partition("==")
            found[name] = (version, {hash.strip() for hash in hashes})
    return found


@pytest.mark.parametrize("package", LOCKED, ids=lambda package: package["name"])
def test_each_locked_package_has_hashes_and_comes_from_the_public_index(package: dict[str, Any]) -> None:
    assert package["source"] == {"registry": INDEX}
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    assert files
    for file in files:
        assert HASH.fullmatch(file["hash"])
        assert file["url"].startswith(FILES)


def test_requirements_lock_is_what_uv_lock_says_of_a_plain_install() -> None:
    by_name = {package["name"]: package for package in LOCK}
    needed, waiting = set(), ["autoroute"]
    while waiting:
        for dependency in by_name[waiting.pop()].get("dependencies", []):
            assert "extra" not in dependency, "extras are to be followed here too"
            if dependency["name"] not in needed:
                needed.add(dependency["name"])
                waiting.append(dependency["name"])
    locked = {}
    for name in needed:
        package = by_name[name]
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        locked[name] = (package["version"], {file["hash"] for file in files})
    (command,) = re.findall(
        r"^#    (uv export .*)$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert command == EXPORT
    assert pins(ROOT / "requirements.lock") == locked, f"uv.lock has moved on: {EXPORT}"


@pytest.mark.parametrize("name", ["requirements.lock", ".github/tools.txt"])
def test_a_file_of_requirements_is_nothing_but_versions_and_hashes(name: str) -> None:
    found = pins(ROOT / name)
    assert len(found) > 10
    for version, hashes in found.values():
        assert re.fullmatch(r"[0-9][\w.+]*", version)
        assert hashes
        assert all(HASH.fullmatch(hash) for hash in hashes)


def test_the_source_distribution_has_what_its_tests_look_at() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"tests", "benchmarks", "docs", "examples", ".ci", ".github", "requirements.lock", "uv.lock"} <= {*included}
    assert all((ROOT / name).exists() for name in included)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_pins_its_actions_and_has_no_rights_by_default(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    used = USES.findall(text)
    assert len(used) == text.count("uses:")
    used = [(action, version) for action, version in used if not action.startswith("$/.github/workflows/")]
    for action, version in used:
        assert re.fullmatch(r"(actions|pypa)/[a-z-]+@[0-9a-f]{40}", action)
        assert version, f"{action}: of which version?"
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    assert "pull_request_target" not in text
    assert "secrets." not in text


def test_the_example_of_a_workflow_is_as_strict_as_ours() -> None:
    text = (ROOT / "examples/ci.yml").read_text(encoding="utf-8")
    ours = {used for workflow in WORKFLOWS for used in USES.findall(workflow.read_text(encoding="utf-8"))}
    assert len(USES.findall(text)) == text.count("uses:")
    assert {*USES.findall(text)} <= ours
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    assert f"--no-deps autoroute=={autoroute.__version__}\n" in text
    assert "github.token" not in text.rpartition("- run:")[0]


def test_only_the_job_that_publishes_can_and_it_does_nothing_else() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    build, publish, attach = re.split(r"^  (?:publish|attach):$", text, flags=re.MULTILINE)
    assert publish.count("id-token: write") == 1
    assert "id-token" not in build + attach
    assert "run:" not in publish
    assert "name: release" in publish
    assert "cache" not in re.sub(r"#.*", "", text)
    assert "diff --recursive dist again" in build
    assert "SOURCE_DATE_EPOCH" in build
    assert "contents: write" not in build + publish
    assert "for folder in dist sbom; do" in build, "whatever is attached has its hash"
    assert re.findall(r"^          path: (\w+)/$", build, re.MULTILINE) == ["dist", "sbom"]
    assert "--pyproject pyproject.toml" in build, "the SBOM says what it is of"


def test_the_workflow_names_the_sandbox_that_it_has_installed() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert "install --yes bubblewrap" in text
    assert "AUTOROUTE_TEST_SANDBOX: bubblewrap " in text


def test_the_tests_run_with_the_locked_versions_too() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert "versions: locked }" in text
    assert "AUTOROUTE_TEST_VERSIONS: ${{ matrix.versions }}" in text
    taken = re.search(r"sed -n 's/(.*)/p' requirements.lock", (ROOT / ".ci/run").read_text(encoding="utf-8"))
    assert taken, "what .ci/run takes out of requirements.lock"
    done = subprocess.run(
        ["sed", "-n", f"s/{taken[1]}/p", "requirements.lock"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        f"{name}=={version}" for name, (version, _) in pins(ROOT / "requirements.lock").items()
    ]


def test_nothing_is_built_for_a_release_that_did_not_pass_what_a_merge_does() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    jobs = dict(re.findall(r"^  (\w+):\n((?:    .*\n)+)", text.partition("\njobs:\n")[2], re.MULTILINE))
    assert "uses: $/.github/workflows/ci.yml\n" in jobs["test"]
    needs = {name: re.findall(r"^    needs: (\w+)$", job, re.MULTILINE) for name, job in jobs.items()}
    assert needs == {"test": [], "build": ["test"], "publish": ["build"], "attach": ["publish"]}
    assert "  workflow_call:" in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")

"""``AGENTS.md`` as a link or an import: its text is found in the commit, and never outside."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from autoroute.workspace.clone import PrivateClone
from tests.workspace.conftest import Place

RULES = "# House rules\n\nUse tabs.\n"


def guidance(place: Place, files: dict[str, str], links: dict[str, str]) -> str:
    for name, text in files.items():
        place.write(name, text)
    for name, target in links.items():
        (place.root / name).parent.mkdir(exist_ok=True)
        (place.root / name).symlink_to(target)
    place.commit()
    return place.clone().read_guidance()


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"CLAUDE.md": RULES}, {"AGENTS.md": "CLAUDE.md"}),
        ({"docs/agents.md": RULES}, {"AGENTS.md": "docs/agents.md"}),
        ({"docs/agents.md": RULES}, {"AGENTS.md": "CLAUDE.md", "CLAUDE.md": "link/agents.md", "link": "docs"}),
        ({"docs/agents.md": RULES}, {"AGENTS.md": "docs/../docs/./agents.md"}),
        ({"CLAUDE.md": RULES}, {"AGENTS.md": "./CLAUDE.md"}),
        ({"docs/agents.md": RULES}, {"AGENTS.md": "./CLAUDE.md", "CLAUDE.md": "./docs/agents.md"}),
        ({"CLAUDE.md": "@docs/agents.md\n", "docs/agents.md": RULES}, {}),
        ({"AGENTS.md": "\n@./CLAUDE.md\n\n", "CLAUDE.md": RULES}, {}),
        ({"CLAUDE.md": "@docs/all.md\n", "docs/all.md": "@agents.md\n", "docs/agents.md": RULES}, {}),
        ({"CLAUDE.md": RULES}, {"AGENTS.md": "missing.md"}),
        ({"CLAUDE.md": RULES, "AGENTS.md": "@AGENTS.md\n"}, {}),
    ],
)
def test_guidance_is_what_a_link_or_an_import_leads_to(
    place: Place, files: dict[str, str], links: dict[str, str]
) -> None:
    assert guidance(place, files, links) == RULES


def test_an_import_within_a_text_is_part_of_the_text(place: Place) -> None:
    assert guidance(place, {"AGENTS.md": "Read @a.txt first.\n"}, {}) == "Read @a.txt first.\n"


def test_several_imports_are_read_in_their_order(place: Place) -> None:
    files = {"AGENTS.md": "@one.md\n@two.md\n", "one.md": "@three.md\n", "two.md": "two\n", "three.md": "three\n"}
    assert guidance(place, files, {}) == "three\n\ntwo\n"


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("imported", [True, False])
def test_nothing_outside_the_commit_is_read(place: Place, absolute: bool, imported: bool) -> None:
    secret = place.folder / "secret.md"
    secret.write_text("a secret\n")
    place.write("untracked.md", "not committed\n")
    target = str(secret) if absolute else "../secret.md"
    files, links = ({"CLAUDE.md": f"@{target}\n"}, {}) if imported else ({}, {"CLAUDE.md": target})
    assert guidance(place, files, links) == ""


@pytest.mark.parametrize("target", ["untracked.md", ".git/config", "src"])
def test_what_is_not_a_file_of_the_commit_is_not_read(place: Place, target: str) -> None:
    (place.root / ".git/info/exclude").write_text("untracked.md\n")
    place.write("untracked.md", "not committed\n")
    assert guidance(place, {}, {"AGENTS.md": target}) == ""


def test_circles_and_long_chains_end(place: Place) -> None:
    links = {f"link{number}.md": f"link{number + 1}.md" for number in range(100)}
    files = {f"import{number}.md": f"@import{number + 1}.md\n@import{number + 2}.md\n" for number in range(60)}
    files["CLAUDE.md"] = "@import0.md\n@CLAUDE.md\n"
    assert guidance(place, files, {"AGENTS.md": "link0.md", **links}) == ""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("@\0")
@given(st.text(st.sampled_from("@./ab\n\0~:\\"), max_size=20))
def test_no_text_of_a_guidance_file_fails(place: Place, clone: PrivateClone, text: str) -> None:
    tree = clone._git.run("hash-object", "-w", "--stdin", data=text.encode()).decode().strip()
    root = clone._git.run("mktree", data=f"100644 blob {tree}\tAGENTS.md\n".encode()).decode().strip()
    who = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    clone._base = clone._git.with_variables(**who).text("commit-tree", root, "-m", os.urandom(4).hex())
    assert isinstance(clone.read_guidance(), str)


@pytest.fixture
def clone(place: Place) -> PrivateClone:
    return place.clone("hostile")

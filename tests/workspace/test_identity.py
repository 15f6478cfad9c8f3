"""The author and committer of a run's commits, and of a merge: those that git itself would write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoroute.errors import WorkspaceError
from autoroute.workspace.repository import Repository
from tests.workspace.conftest import Place

AUTHOR = {"GIT_AUTHOR_NAME": "An Author", "GIT_AUTHOR_EMAIL": "author@corp.example"}
COMMITTER = {"GIT_COMMITTER_NAME": "Build Bot", "GIT_COMMITTER_EMAIL": "bot@corp.example"}
COUNTED = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "Build Bot",
    "GIT_CONFIG_KEY_1": "user.email",
    "GIT_CONFIG_VALUE_1": "bot@corp.example",
}
PEOPLE = "%an <%ae>|%cn <%ce>"


def forget_user(place: Place) -> None:
    (Path(place.environ["HOME"]) / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")


def commit_and_merge(place: Place) -> tuple[str, str]:
    """Return the people of a run's commit, and of the merge commit that brings it into a branch that has moved on."""
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    clone.publish(place.folder / "p")
    place.write("a.txt", "meanwhile\n")
    place.git("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "--all", "--message=Meanwhile")
    place.repository().merge("autoroute/r1")
    return tuple(place.git("log", "-1", f"--format={PEOPLE}", name) for name in ("autoroute/r1", "main"))  # type: ignore[return-value]


@pytest.mark.parametrize("known", [True, False])
def test_variables_name_author_and_committer(place: Place, known: bool) -> None:
    if not known:
        forget_user(place)
    place.environ |= {**AUTHOR, **COMMITTER}
    expected = "An Author <author@corp.example>|Build Bot <bot@corp.example>"
    assert commit_and_merge(place) == (expected, expected)


def test_a_variable_wins_for_its_part_only(place: Place) -> None:
    place.environ |= {"GIT_COMMITTER_NAME": "Build Bot"}
    expected = "A Developer <dev@example.com>|Build Bot <dev@example.com>"
    assert commit_and_merge(place) == (expected, expected)


def test_settings_distinguish_author_and_committer(place: Place) -> None:
    place.git("config", "author.name", "An Author")
    place.git("config", "committer.email", "bot@corp.example")
    expected = "An Author <dev@example.com>|A Developer <bot@corp.example>"
    assert commit_and_merge(place) == (expected, expected)


@pytest.mark.parametrize(
    "variable", ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"]
)
def test_a_configuration_that_a_variable_names_is_read(place: Place, variable: str) -> None:
    forget_user(place)
    file = place.folder / "elsewhere"
    file.write_text("[user]\n\tname = Build Bot\n\temail = bot@corp.example\n")
    del place.environ["GIT_CONFIG_NOSYSTEM"]
    place.environ |= {
        "GIT_CONFIG_COUNT": COUNTED,
        "GIT_CONFIG_PARAMETERS": {variable: "'user.name'='Build Bot' 'user.email'='bot@corp.example'"},
    }.get(variable, {variable: str(file)})
    expected = "Build Bot <bot@corp.example>|Build Bot <bot@corp.example>"
    assert commit_and_merge(place) == (expected, expected)


def test_a_conditional_include_of_the_users_applies_to_this_repository(place: Place) -> None:
    (place.folder / "work").write_text("[user]\n\temail = dev@corp.example\n")
    with (Path(place.environ["HOME"]) / ".gitconfig").open("a") as file:
        file.write(f'[includeIf "gitdir:{place.root}/"]\n\tpath = {place.folder}/work\n')
    expected = "A Developer <dev@corp.example>|A Developer <dev@corp.example>"
    assert commit_and_merge(place) == (expected, expected)


def test_what_git_does_not_know_is_taken_from_the_default(place: Place) -> None:
    forget_user(place)
    place.git("config", "user.name", "A Developer")
    place.environ["GIT_COMMITTER_EMAIL"] = "bot@corp.example"
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    commit = clone.commit(clone.snapshot(), "Add it", "", {})
    clone.publish(place.folder / "p")
    assert place.git("log", "-1", f"--format={PEOPLE}", commit) == (
        "A Developer <autoroute@localhost>|A Developer <bot@corp.example>"
    )


def test_the_time_of_a_commit_is_its_own(place: Place) -> None:
    place.environ |= {f"GIT_{role}_DATE": "2001-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")}
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    clone.publish(place.folder / "p")
    assert place.git("log", "-1", "--format=%ad %cd", "--date=format:%Y", "autoroute/r1") != "2001 2001"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("variable", ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_COUNT"])
def test_a_repository_is_trusted_by_variables(place: Place, variable: str) -> None:
    for path in (place.root, *place.root.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    trusted = [place.root, place.root / ".git"]
    file = place.folder / "elsewhere"
    file.write_text("[safe]\n" + "".join(f"\tdirectory = {folder}\n" for folder in trusted))
    counted = {"GIT_CONFIG_COUNT": "2"}
    for number, folder in enumerate(trusted):
        counted |= {f"GIT_CONFIG_KEY_{number}": "safe.directory", f"GIT_CONFIG_VALUE_{number}": str(folder)}
    with pytest.raises(WorkspaceError, match="dubious ownership"):
        place.repository()
    place.environ |= counted if variable == "GIT_CONFIG_COUNT" else {variable: str(file)}
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    assert clone.publish(place.folder / "p").commits == 1


@pytest.mark.parametrize("setting", ["core.fsmonitor", "core.hooksPath", "filter.evil.clean", "diff.external"])
def test_a_program_that_variables_name_does_not_run(place: Place, setting: str) -> None:
    mark, hooks = place.folder / "fired", place.folder / "hooks"
    hooks.mkdir()
    for program in (hooks / "reference-transaction", hooks / "post-index-change", place.folder / "program"):
        program.write_text(f"#!/bin/sh\n: > {mark}\n[ $# -gt 0 ] || exec cat\n")
        program.chmod(0o755)
    place.write(".gitattributes", "* filter=evil\n")
    place.commit()
    place.write("a.txt", "changed\n")
    value = str(hooks if setting == "core.hooksPath" else place.folder / "program")
    counted = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": setting, "GIT_CONFIG_VALUE_0": value}
    repository = Repository.discover(place.root, {**place.environ, **counted})
    repository.find_dirty_paths()
    place.environ |= counted
    clone = place.clone()
    (clone.root / "new.txt").write_text("new\n")
    clone.commit(clone.snapshot(), "Add it", "", {})
    clone.publish(place.folder / "p")
    clone.restore(clone.snapshot())
    assert not mark.exists()

"""Files that run by themselves on somebody's machine, once a change that touches them is there."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from autoroute.bounded import read_object, read_toml
from autoroute.workspace.git import Git

_CI = "runs in CI"
_HOOK = "runs at every git command of its kind"
_TESTS = "runs with the tests"
_PYTHON = "runs whenever Python starts"
_BUILD = "runs at a build"
_INSTALL = "runs at an installation"
_SHELL = "runs when a shell enters the folder"
_EDITOR = "runs when an editor opens the folder"
_GIT = "changes what git does with files"
_AGENT = "instructs or starts coding agents"

FOLDERS = MappingProxyType(
    {
        ".github/workflows": _CI,
        ".github/actions": _CI,
        ".gitlab/ci": _CI,
        ".gitea/workflows": _CI,
        ".forgejo/workflows": _CI,
        ".circleci": _CI,
        ".buildkite": _CI,
        ".woodpecker": _CI,
        ".husky": _HOOK,
        ".githooks": _HOOK,
        ".hooks": _HOOK,
        ".git-hooks": _HOOK,
        ".cargo": _BUILD,
        "buildsrc": _BUILD,
        "gradle/wrapper": _BUILD,
        ".mvn": _BUILD,
        ".yarn": _INSTALL,
        ".vscode": _EDITOR,
        ".idea": _EDITOR,
        ".zed": _EDITOR,
        ".devcontainer": _EDITOR,
        ".claude": _AGENT,
        ".cursor": _AGENT,
        ".codex": _AGENT,
        ".gemini": _AGENT,
        ".windsurf": _AGENT,
    }
)
"""Folders, wherever they are, with why a file in them runs."""

NAMES = MappingProxyType(
    {
        **dict.fromkeys((".gitlab-ci.yml", "azure-pipelines.yml", "jenkinsfile", ".travis.yml", ".drone.yml"), _CI),
        **dict.fromkeys(("bitbucket-pipelines.yml", "appveyor.yml", ".appveyor.yml", ".cirrus.yml"), _CI),
        **dict.fromkeys((".woodpecker.yml", "cloudbuild.yaml", "buildspec.yml", "action.yml", "action.yaml"), _CI),
        **dict.fromkeys((".pre-commit-config.yaml", ".pre-commit-hooks.yaml", "lefthook.yml", ".lefthook.yml"), _HOOK),
        **dict.fromkeys((".huskyrc", ".lintstagedrc", ".overcommit.yml"), _HOOK),
        **dict.fromkeys(("conftest.py", "noxfile.py", "tox.ini", "pytest.ini", "jest.config.js"), _TESTS),
        **dict.fromkeys(("vitest.config.ts", "vitest.config.js", "jest.config.ts"), _TESTS),
        **dict.fromkeys(("sitecustomize.py", "usercustomize.py"), _PYTHON),
        **dict.fromkeys(
            ("setup.py", "setup.cfg", "build.rs", "makefile", "gnumakefile", "justfile", ".justfile"), _BUILD
        ),
        **dict.fromkeys(("cmakelists.txt", "rakefile", "gemfile", "dockerfile", "containerfile"), _BUILD),
        **dict.fromkeys(("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"), _BUILD),
        **dict.fromkeys(("build.gradle", "build.gradle.kts", "settings.gradle", "gradlew", "mvnw", "pom.xml"), _BUILD),
        **dict.fromkeys(
            ("taskfile.yml", "taskfile.yaml", "meson.build", "sconstruct", "tiltfile", "earthfile"), _BUILD
        ),
        **dict.fromkeys((".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", "binding.gyp", ".bazelrc"), _INSTALL),
        **dict.fromkeys(("pip.conf", ".pypirc"), _INSTALL),
        **dict.fromkeys((".envrc", ".mise.toml", "mise.toml", ".autoenv", ".tool-versions"), _SHELL),
        **dict.fromkeys((".vimrc", ".exrc", ".nvimrc", ".nvim.lua", ".dir-locals.el", ".devcontainer.json"), _EDITOR),
        **dict.fromkeys((".gitattributes", ".gitmodules"), _GIT),
        **dict.fromkeys(("agents.md", "claude.md", "gemini.md", ".mcp.json", ".cursorrules", ".windsurfrules"), _AGENT),
    }
)
"""File names, wherever they are; casefolded."""

ENDINGS = MappingProxyType(
    {
        ".pth": _PYTHON,
        ".mk": _BUILD,
        ".cmake": _BUILD,
        ".code-workspace": _EDITOR,
        ".gemspec": _BUILD,
        ".csproj": _BUILD,
    }
)

_PACKAGE = ("scripts", "husky", "simple-git-hooks", "lint-staged", "gypfile", "packageManager")
_PROJECT = ("hatch", "pdm", "setuptools", "poe", "taskipy", "pytest", "cibuildwheel")
_LINK, _GITLINK = "120000", "160000"
_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Touched:
    """A file that a change adds or alters: its mode in octal digits, and what it held before and holds now."""

    path: str
    mode: str
    before: Callable[[], bytes]
    after: Callable[[], bytes]


def runs_unasked(git: Git, before: str, after: str) -> dict[str, str]:
    """The files that differ between two trees or commits and run by themselves, each with a few words on when."""
    fields = git.paths("diff-tree", "-r", "--raw", "--no-abbrev", "--no-renames", "-z", before, after)
    found = {}
    for change, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, old, new, status = change.split(" ")
        if status == "D" or mode == _GITLINK:
            continue
        touched = Touched(path, mode, partial(_blob, git, old), partial(_blob, git, new))
        if why := why_it_runs(touched):
            found[path] = why
    return found


def why_it_runs(touched: Touched) -> str:
    """When this file runs by itself, "" when it does not."""
    parts = [_plain(part) for part in touched.path.split("/")]
    name, folders = parts[-1], "/" + "/".join(parts)
    for folder, why in FOLDERS.items():
        if f"/{folder}/" in folders:
            return why
        if touched.mode == _LINK and f"/{folder}/".startswith(f"/{name}/"):
            return f"a link in place of a folder: what is in it {why}"
    if name == "package.json":
        return _INSTALL if _parts_of(touched.before(), _package) != _parts_of(touched.after(), _package) else ""
    if name == "pyproject.toml":
        return _BUILD if _parts_of(touched.before(), _project) != _parts_of(touched.after(), _project) else ""
    ending = next((why for ending, why in ENDINGS.items() if name.endswith(ending)), "")
    return NAMES.get(name) or ending or (_BUILD if name.startswith(("dockerfile.", "makefile.")) else "")


def _plain(name: str) -> str:
    """A name as file systems that fold case, ignore invisible characters or drop trailing dots see it."""
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold().rstrip(". ")


def _blob(git: Git, oid: str) -> bytes:
    if not oid.strip("0"):
        return b""
    # Its id, which is neither JSON nor TOML, tells it from another as well.
    too_large = int(git.text("cat-file", "-s", oid)) > _LARGEST
    return f"<{oid}>".encode() if too_large else git.run("cat-file", "blob", oid)


def _parts_of(data: bytes, parts: Callable[[str], Any]) -> Any:
    """What of a file runs; the bytes themselves where that cannot be told."""
    try:
        return parts(data.decode("utf-8")) if data else parts("{}" if parts is _package else "")
    except (ValueError, AttributeError):
        return data


def _package(text: str) -> dict[str, Any]:
    package = read_object(text)
    return {key: package[key] for key in _PACKAGE if key in package}


def _project(text: str) -> dict[str, Any]:
    project = read_toml(text)
    tools = project.get("tool", {})
    return {"build-system": project.get("build-system"), **{key: tools.get(key) for key in _PROJECT}}

"""Files that run by themselves on somebody's machine, once a change that touches them is there."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial, reduce
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from autoroute.parsing import read_object, read_toml
from autoroute.workspace.git import Git

_CI = "runs in CI"
_HOOK = "runs at every git command of its kind"
_TESTS = "runs with the tests"
_LINT = "runs with a linter or formatter"
_PYTHON = "runs whenever Python starts"
_R = "runs whenever R starts"
_DEBUGGER = "runs whenever a debugger starts"
_BUILD = "runs at a build"
_INSTALL = "runs at an installation"
_SHELL = "runs when a shell enters the folder"
_EDITOR = "runs when an editor opens the folder"
_GIT = "changes what git does with files"
_AGENT = "instructs or starts coding agents"


def _each(why: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), why)


FOLDERS = MappingProxyType(
    {
        **_each(_CI, ".github/workflows .github/actions .gitlab/ci .gitea/workflows .forgejo/workflows"),
        **_each(_CI, ".circleci .buildkite .woodpecker"),
        **_each(_HOOK, ".husky .githooks .hooks .git-hooks .lefthook"),
        **_each(_BUILD, ".cargo buildsrc gradle/wrapper .mvn"),
        **_each(_INSTALL, ".yarn"),
        **_each(_SHELL, ".mise"),
        **_each(_EDITOR, ".vscode .idea .zed .devcontainer"),
        **_each(_AGENT, ".claude .cursor .codex .gemini .windsurf .clinerules .roo .kiro .opencode"),
        **_each(_AGENT, ".github/instructions .github/prompts .github/agents"),
    }
)
"""Folders, wherever they are, with why a file in them runs."""

NAMES = MappingProxyType(
    {
        **_each(_CI, ".gitlab-ci.yml azure-pipelines.yml jenkinsfile .travis.yml .drone.yml bitbucket-pipelines.yml"),
        **_each(_CI, "appveyor.yml .appveyor.yml .cirrus.yml .woodpecker.yml cloudbuild.yaml buildspec.yml"),
        **_each(_CI, "action.yml action.yaml"),
        **_each(_HOOK, "applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit"),
        **_each(_HOOK, "post-index-change post-merge post-receive post-rewrite post-update pre-applypatch pre-auto-gc"),
        **_each(_HOOK, "pre-commit pre-merge-commit pre-push pre-rebase pre-receive prepare-commit-msg"),
        **_each(_HOOK, "reference-transaction sendemail-validate"),
        **_each(_HOOK, ".pre-commit-config.yaml .pre-commit-hooks.yaml .huskyrc .overcommit.yml"),
        **_each(_TESTS, "conftest.py noxfile.py tox.ini tox.toml pytest.ini .pytest.ini .coveragerc"),
        **_each(_LINT, ".pylintrc pylintrc mypy.ini .mypy.ini"),
        **_each(_PYTHON, "sitecustomize.py usercustomize.py"),
        **_each(_R, ".rprofile"),
        **_each(_DEBUGGER, ".pdbrc .gdbinit .lldbinit"),
        **_each(_BUILD, "setup.py setup.cfg hatch_build.py pdm_build.py uv.toml"),
        **_each(_BUILD, "makefile gnumakefile justfile .justfile taskfile.yml taskfile.yaml cmakelists.txt configure"),
        **_each(
            _BUILD, "meson.build sconstruct sconscript tiltfile earthfile rakefile gemfile dockerfile containerfile"
        ),
        **_each(_BUILD, "gradlew gradlew.bat gradle.properties mvnw mvnw.cmd pom.xml build.sbt mix.exs package.swift"),
        **_each(_BUILD, "directory.build.props directory.build.targets build.rs .bazelrc build build.bazel"),
        **_each(_BUILD, "workspace workspace.bazel module.bazel flake.nix default.nix"),
        **_each(_INSTALL, ".npmrc .yarnrc .yarnrc.yml .pnpmfile.cjs pnpm-workspace.yaml bunfig.toml binding.gyp"),
        **_each(_INSTALL, "pip.conf .pypirc composer.json"),
        **_each(_SHELL, ".envrc .autoenv .tool-versions shell.nix"),
        **_each(_EDITOR, ".vimrc .exrc .nvimrc .nvim.lua .dir-locals.el .devcontainer.json"),
        **_each(_GIT, ".gitattributes .gitmodules .lfsconfig"),
        **_each(_AGENT, "agents.md claude.md claude.local.md gemini.md copilot-instructions.md .mcp.json .cursorrules"),
        **_each(_AGENT, ".windsurfrules .aider.conf.yml opencode.json opencode.jsonc autoroute.toml"),
    }
)
"""File names, wherever they are; casefolded."""

SHAPES = MappingProxyType(
    {
        **_each(_HOOK, "lefthook*.y*ml .lefthook*.y*ml .lintstagedrc* lint-staged.config.*"),
        **_each(_TESTS, "jest.config.* vitest.config.* vitest.workspace.* playwright.config.* cypress.config.*"),
        **_each(_TESTS, ".mocharc* karma.conf.* ava.config.*"),
        **_each(_LINT, "eslint.config.* .eslintrc* prettier.config.* .prettierrc* stylelint.config.* .stylelintrc*"),
        **_each(_PYTHON, "*.pth"),
        **_each(_BUILD, "vite.config.* babel.config.* .babelrc* webpack.config.* rollup.config.* next.config.*"),
        **_each(
            _BUILD, "nuxt.config.* astro.config.* svelte.config.* postcss.config.* tailwind.config.* metro.config.*"
        ),
        **_each(_BUILD, "gulpfile.* gruntfile.* dockerfile.* *.dockerfile makefile.* *.mk *.cmake *.bzl"),
        **_each(_BUILD, "docker-compose*.y*ml compose.y*ml compose.*.y*ml *.gradle *.gradle.kts *.gemspec *.??proj"),
        **_each(_SHELL, "mise.toml mise.*.toml .mise.toml .mise.*.toml"),
        **_each(_EDITOR, "*.code-workspace"),
    }
)
"""File names of which only a part is fixed, casefolded, as ``fnmatch`` reads them."""

_PAGES = frozenset({"agents.md", "claude.md", "gemini.md"})
"""Spelled like this and in a folder they are pages on the subject."""
_PACKAGE = (
    *("scripts", "husky", "simple-git-hooks", "lint-staged", "gypfile", "packageManager", "workspaces"),
    *("jest", "babel", "eslintConfig", "mocha", "ava"),
)
_PROJECT = (
    *("build-system", "project.entry-points.pytest11", "tool.poetry.build"),
    *("tool.hatch", "tool.pdm", "tool.setuptools", "tool.uv", "tool.cibuildwheel", "tool.poe", "tool.taskipy"),
    *("tool.pytest", "tool.tox", "tool.coverage", "tool.mypy", "tool.pylint"),
)
_LINK, _GITLINK = "120000", "160000"
_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that a change adds or alters: its mode in octal digits, and what it held before and holds now."""

    path: str
    mode: str
    before: Callable[[], bytes]
    after: Callable[[], bytes]


def find_auto_executed(git: Git, before: str, after: str) -> dict[str, str]:
    """The files that differ between two trees or commits and run by themselves, each with a few words on when."""
    fields = git.paths("diff-tree", "-r", "--raw", "--no-abbrev", "--no-renames", "-z", before, after)
    found = {}
    for change, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, old, new, status = change.split(" ")
        if status == "D" or mode == _GITLINK:
            continue
        touched = ChangedFile(path, mode, partial(_blob, git, old), partial(_blob, git, new))
        if why := find_trigger(touched):
            found[path] = why
    return found


def find_trigger(touched: ChangedFile) -> str:
    """When this file runs by itself, "" when it does not."""
    parts = [_plain(part) for part in touched.path.split("/")]
    name, path = parts[-1], "/" + "/".join(parts)
    for folder, why in FOLDERS.items():
        if f"/{folder}/" in path:
            return why
        if touched.mode == _LINK and any(path.endswith(f"/{outer}") for outer in accumulate(folder.split("/"), _join)):
            return f"a link in place of a folder: what is in it {why}"
    if name == "package.json":
        return _INSTALL if _parts_of(touched.before(), _package) != _parts_of(touched.after(), _package) else ""
    if name == "pyproject.toml":
        return _BUILD if _parts_of(touched.before(), _project) != _parts_of(touched.after(), _project) else ""
    if name in _PAGES and touched.path.endswith(f"/{name}"):
        return ""
    return NAMES.get(name) or next((why for shape, why in SHAPES.items() if fnmatchcase(name, shape)), "")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}"


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
    return {key: reduce(_inside, key.split("."), project) for key in _PROJECT}


def _inside(table: Any, key: str) -> Any:
    return table.get(key) if table else None

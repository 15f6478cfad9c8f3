"""Finding files of a change that run automatically on someone's machine, such as hooks, CI and editor settings.

They are legitimate to edit and an old way to attack: settings of VS Code that an agent wrote ran commands on the host
(CVE-2025-53773). So the review, the receipt and ``autoroute merge`` name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial, reduce
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from autoroute.parsing import read_object, read_toml
from autoroute.workspace.bare_repositories import belongs_to, find_bare_repositories, may_make_one
from autoroute.workspace.git import Git
from autoroute.workspace.path_policy import fold_name

_CI = "runs in CI"
_HOOK = "runs as a git hook"
_TESTS = "runs with the tests"
_LINT = "runs with a linter or formatter"
_PYTHON = "runs whenever Python starts"
_R = "runs whenever R starts"
_DEBUGGER = "runs whenever a debugger starts"
_BUILD = "runs during a build"
_INSTALL = "runs during installation"
_SHELL = "runs when a shell enters the folder"
_EDITOR = "runs when an editor opens the folder"
_REPOSITORY = "makes git take its folder for a repository, whose settings run programs"
_GIT = "changes what git does with files"
_AGENT = "instructs or starts coding agents"


def _each(trigger: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), trigger)


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
"""Folders, casefolded and at any depth, with the occasion on which a file in them runs."""

FILE_NAMES = MappingProxyType(
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
"""File names, casefolded and at any depth, likewise."""

FILE_PATTERNS = MappingProxyType(
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
"""Patterns of ``fnmatch`` for file names, likewise."""

_DOCUMENTATION = frozenset({"agents.md", "claude.md", "gemini.md"})
"""Names that, in lower case and below the root, are ordinary pages of documentation."""
_PACKAGE_KEYS = (
    *("scripts", "husky", "simple-git-hooks", "lint-staged", "gypfile", "packageManager", "workspaces"),
    *("jest", "babel", "eslintConfig", "mocha", "ava"),
)
"""The parts of ``package.json`` that run or configure what runs."""
_PROJECT_KEYS = (
    *("build-system", "project.entry-points.pytest11", "tool.poetry.build"),
    *("tool.hatch", "tool.pdm", "tool.setuptools", "tool.uv", "tool.cibuildwheel", "tool.poe", "tool.taskipy"),
    *("tool.pytest", "tool.tox", "tool.coverage", "tool.mypy", "tool.pylint"),
)
"""The parts of ``pyproject.toml`` that run or configure what runs."""
_LINK, _GITLINK = "120000", "160000"
_MAX_MANIFEST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that a change adds or modifies: its git mode in octal digits, and readers of its old and new content."""

    path: str
    mode: str
    before: Callable[[], bytes]
    after: Callable[[], bytes]


def find_auto_executed(git: Git, before: str, after: str) -> dict[str, str]:
    """Map each automatically executed file that differs between two trees or commits to the occasion when it runs."""
    fields = git.paths("diff-tree", "-r", "--raw", "--no-abbrev", "--no-renames", "-z", before, after)
    found = {}
    changed = fields[1::2]
    bare = find_bare_repositories(_list_files(git, after) if may_make_one(changed) else ())
    for change, path in zip(fields[::2], changed, strict=True):
        _, mode, old, new, status = change.split(" ")
        if status == "D" or mode == _GITLINK:
            continue
        file = ChangedFile(path, mode, partial(_read_blob, git, old), partial(_read_blob, git, new))
        if trigger := find_trigger(file) or (_REPOSITORY if belongs_to(path, bare) else ""):
            found[path] = trigger
    return found


def _list_files(git: Git, tree: str) -> list[str]:
    return git.paths("ls-tree", "-r", "-z", "--name-only", tree)


def find_trigger(file: ChangedFile) -> str:
    """Return the occasion on which this file runs automatically, "" if it does not."""
    parts = [fold_name(part) for part in file.path.split("/")]
    name, path = parts[-1], "/" + "/".join(parts)
    for folder, trigger in FOLDERS.items():
        if f"/{folder}/" in path:
            return trigger
        if file.mode == _LINK and any(path.endswith(f"/{outer}") for outer in accumulate(folder.split("/"), _join)):
            return f"a link in place of a folder whose content {trigger}"
    if name == "package.json":
        return _INSTALL if _differ(file, _select_package_parts) else ""
    if name == "pyproject.toml":
        return _BUILD if _differ(file, _select_project_parts) else ""
    if name in _DOCUMENTATION and file.path.endswith(f"/{name}"):
        return ""
    matches = (trigger for pattern, trigger in FILE_PATTERNS.items() if fnmatchcase(name, pattern))
    return FILE_NAMES.get(name) or next(matches, "")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}"


def _read_blob(git: Git, oid: str) -> bytes:
    if not oid.strip("0"):
        return b""
    # The id of a large file differs whenever its content does, and is neither valid JSON nor TOML.
    too_large = int(git.text("cat-file", "-s", oid)) > _MAX_MANIFEST_BYTES
    return f"<{oid}>".encode() if too_large else git.run("cat-file", "blob", oid)


def _differ(file: ChangedFile, select: Callable[[str], Any]) -> bool:
    """Return whether the executed parts of a manifest changed."""
    return bool(_read_parts(file.before(), select) != _read_parts(file.after(), select))


def _read_parts(data: bytes, select: Callable[[str], Any]) -> Any:
    """Return the executed parts of a manifest; the bytes themselves if it cannot be parsed."""
    try:
        return select(data.decode("utf-8")) if data else select("{}" if select is _select_package_parts else "")
    except (ValueError, AttributeError):
        return data


def _select_package_parts(text: str) -> dict[str, Any]:
    package = read_object(text)
    return {key: package[key] for key in _PACKAGE_KEYS if key in package}


def _select_project_parts(text: str) -> dict[str, Any]:
    project = read_toml(text)
    return {key: reduce(_get, key.split("."), project) for key in _PROJECT_KEYS}


def _get(table: Any, key: str) -> Any:
    return table.get(key) if table else None

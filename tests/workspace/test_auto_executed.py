from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from autoroute.workspace.auto_executed import ChangedFile, find_auto_executed, find_trigger, load_rules
from autoroute.workspace.path_policy import fold_name
from tests.workspace.conftest import Place

RULES = load_rules()
TABLE = tomllib.loads(files("autoroute.workspace").joinpath("auto_executed.toml").read_text(encoding="utf-8"))
ROWS = {f"{kind}.{program}": row for kind, rows in TABLE.items() if kind != "kinds" for program, row in rows.items()}
FIELDS = {"names", "paths", "folders", "patterns"}
TRIGGERS = set(TABLE["kinds"].values())


def listed(field: str) -> list[str]:
    return [name for row in ROWS.values() for name in row.get(field, "").split()]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table_has_a_source_and_says_what_it_finds(row: str) -> None:
    fields = ROWS[row]
    assert fields["source"].startswith(("https://", "http://", "docs/"))
    assert fields.keys() - {"source"} <= ({"kind", "keys"} if row.startswith("manifests.") else FIELDS)
    assert fields.keys() > {"source"}


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_no_name_is_listed_twice_and_each_is_folded(field: str) -> None:
    names = listed(field)
    assert len(names) == len(set(names))
    assert [name for name in names if "/".join(map(fold_name, name.split("/"))) != name] == []
    assert [name for name in names if ("/" in name) != (field == "paths")] == [] or field == "folders"


def test_the_table_knows_the_programs_of_each_kind() -> None:
    assert set(TABLE["kinds"]) | {"kinds", "manifests"} == set(TABLE)
    assert {row["kind"] for row in TABLE["manifests"].values()} <= set(TABLE["kinds"])
    assert sum(len(listed(field)) for field in FIELDS) > 1000


def trigger(path: str, before: str = "", after: str = "x", mode: str = "100644") -> str:
    return find_trigger(ChangedFile(path, mode, before.encode, after.encode))


@pytest.mark.parametrize("row", [row for row in ROWS if not row.startswith("manifests.")])
def test_what_a_row_names_is_found_at_any_depth_and_in_any_case(row: str) -> None:
    fields = {field: ROWS[row].get(field, "").split() for field in FIELDS}
    for folder in fields["folders"]:
        assert trigger(f"{folder}/deep/x") == trigger(f"pkg/{folder.upper()}/x") == RULES.folders[folder]
        assert trigger(f"x{folder}/y") == ""
    for name in (*fields["names"], *fields["paths"]):
        expected = RULES.names[name]
        assert trigger(name) == trigger(f"deep/er/{name.upper()}") == trigger(f"{name[0]}\u200c{name[1:]}") == expected
        assert trigger(f"not-{name}") in {"", *RULES.patterns.values()}
    for pattern in fields["patterns"]:
        name = pattern.replace("*", "a")
        # Another row may match it too, such as one about every ``*.config.js``.
        assert trigger(f"lib/{name}") == trigger(name.upper())
        assert trigger(name) in TRIGGERS


@pytest.mark.parametrize("folder", RULES.folders)
def test_a_link_that_replaces_such_a_folder_or_its_parent_is_found(folder: str) -> None:
    parts = folder.split("/")
    for length in range(1, len(parts) + 1):
        outer = "/".join(parts[:length])
        assert "link" in trigger(outer, mode="120000")
        assert "link" in trigger(f"pkg/{outer.upper()}", mode="120000")
        assert trigger(f"x{outer}", mode="120000") == ""


@pytest.mark.parametrize(
    ("path", "runs"),
    [
        ("web/jest.config.mts", "runs with the tests"),
        ("eslint.config.cjs", "runs with a linter or formatter"),
        ("docker-compose.prod.yaml", "runs during a build"),
        ("app/settings.gradle.kts", "runs during a build"),
        ("mise.local.toml", "runs when a shell enters the folder"),
        ("hooks/pre-commit", "runs as a git hook"),
        (".lintstagedrc", "runs as a git hook"),
        ("docs/AGENTS.md", "instructs or starts coding agents"),
        ("agents.md", "instructs or starts coding agents"),
    ],
)
def test_a_file_is_described_by_when_it_runs(path: str, runs: str) -> None:
    assert trigger(path) == runs


@pytest.mark.parametrize(
    "path",
    [
        *("rust-toolchain.toml", ".rspec", ".helix/languages.toml", ".vs/tasks.vs.json", "src/app.vcxproj", ".flake8"),
        *(
            "docs/conf.py",
            "phpunit.xml",
            "azure-pipelines.yaml",
            "config/config.exs",
            "script/bootstrap",
            "cypress.json",
        ),
        *(
            "paper/.latexmkrc",
            "lib/x.pyc",
            ".hg/hgrc",
            ".project",
            "Doxyfile",
            "app.pro",
            ".ghci",
            ".env",
            "skill/SKILL.md",
        ),
        *(
            "ansible.cfg",
            "hie.yaml",
            "stack.yaml",
            "x.lnk",
            ".Rprofile",
            "web/.htaccess",
            "Assets/x.desktop",
            "CRUSH.md",
        ),
    ],
)
def test_names_that_the_first_list_did_not_know_are_found(path: str) -> None:
    assert trigger(path) in TRIGGERS


OTHERS = ("src/slug.py", "README.md", "tests/test_slug.py", "docs/makefiles.md", "uv.lock", "src/hooks/useSlug.ts")


@pytest.mark.parametrize("path", [*OTHERS, "docs/agents.md", "src/config.ts", "composer.lock", "build/index.js"])
def test_other_files_are_not_found(path: str) -> None:
    assert trigger(path) == ""


@pytest.mark.parametrize(
    ("path", "before", "after", "runs"),
    [
        ("package.json", "", '{"name": "x"}', False),
        ("package.json", "", '{"scripts": {"postinstall": "x"}}', True),
        ("package.json", '{"version": "1", "scripts": {}}', '{"version": "2", "scripts": {}}', False),
        ("package.json", '{"scripts": {"test": "a"}}', '{"scripts": {"test": "b"}}', True),
        ("package.json", '{"scripts": {"test": "a"}}', "no JSON", True),
        ("package.json", '{"scripts": {"test": "a"}}', "[]", True),
        ("package.json", "{}", "[" * 100_000, True),
        ("pyproject.toml", "[project]\nname = 'x'", "[project]\nname = 'y'", False),
        ("pyproject.toml", "", "[build-system]\nbuild-backend = 'evil'", True),
        ("pyproject.toml", "[tool.ruff]\na = 1", "[tool.ruff]\na = 2", False),
        ("pyproject.toml", "[tool.pytest.ini_options]\na = 1", "[tool.pytest.ini_options]\na = 2", True),
        ("pyproject.toml", "", "no TOML", True),
        ("pyproject.toml", "", "[project.entry-points.pytest11]\nx = 'x'", True),
        ("pyproject.toml", "", "[project.entry-points.other]\nx = 'x'", False),
        ("pyproject.toml", "", "[tool.poetry]\nname = 'x'", False),
        ("pyproject.toml", "", "[tool.poetry.build]\nscript = 'x'", True),
        ("pyproject.toml", "", "tool = 1", True),
        *(
            ("pyproject.toml", "", f"[tool.{tool}]\na = 1", True)
            for tool in ("tox", "coverage", "mypy", "pylint", "uv")
        ),
        *(
            ("package.json", "{}", f'{{"{key}": {{}}}}', True)
            for key in ("jest", "babel", "eslintConfig", "workspaces")
        ),
        ("Cargo.toml", "[package]\nname = 'x'", "[package]\nname = 'y'", False),
        ("Cargo.toml", "", "[dependencies]\nserde = '1'", False),
        ("Cargo.toml", "", "[package]\nbuild = 'evil.rs'", True),
        ("Cargo.toml", "", "[lib]\nproc-macro = true", True),
        ("tsconfig.json", "{}", '{"compilerOptions": {"strict": true}}', False),
        ("tsconfig.json", "{}", '{"compilerOptions": {"plugins": [{"name": "evil"}]}}', True),
        # Too large or too deep to parse: every change counts.
        ("pyproject.toml", "", f"a{50 * '.a'} = 1", True),
        ("pyproject.toml", "", f"a{30_000 * '.a'} = 1", True),
        ("package.json", "{}", f'{{"x": {70 * "["}{70 * "]"}}}', True),
    ],
)
def test_only_the_executed_parts_of_a_manifest_count(path: str, before: str, after: str, runs: bool) -> None:
    assert (trigger(path, before, after) != "") is runs


def test_a_very_large_file_is_compared_without_being_read(place: Place) -> None:
    place.write("package.json", '{"name": "x"}')
    place.write("kept/package.json", '{"name": "x"}')
    before = place.commit()
    place.write("package.json", f'{{"name": "x"}}{(1 << 20) * " "}')
    place.write("kept/package.json", '{"name": "y"}')
    after = place.commit()
    trace = place.folder / "trace"
    git = place.repository().git.with_variables(GIT_TRACE=str(trace))
    assert find_auto_executed(git, before, after) == {"package.json": "runs during installation"}
    large = place.git("rev-parse", f"{after}:package.json")
    assert f"cat-file -s {large}" in trace.read_text()
    assert f"cat-file blob {large}" not in trace.read_text()


def test_publishing_and_merging_name_auto_executed_files(place: Place) -> None:
    place.write("Makefile", "all:\n")
    place.write("conftest.py", "")
    place.commit()
    clone = place.clone()
    (clone.root / "conftest.py").unlink()
    (clone.root / "Makefile").write_text("all: evil\n")
    (clone.root / ".github/workflows").mkdir(parents=True)
    (clone.root / ".github/workflows/x.yml").write_text("on: push\n")
    (clone.root / "plain.txt").write_text("plain\n")
    clone.commit(clone.snapshot(), "Change", "", {})
    expected = {".github/workflows/x.yml": "runs in CI", "Makefile": "runs during a build"}
    assert clone.find_auto_executed() == expected
    assert clone.publish(place.folder / "p").auto_executed == expected
    place.write("mine/Dockerfile", "FROM x\n")
    place.commit("Mine")
    assert place.repository().find_auto_executed("autoroute/r1") == expected
    assert place.repository().find_auto_executed("autoroute/r9") == {}

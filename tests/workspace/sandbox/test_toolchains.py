"""What of a user's home commands get to see: languages and tools, and never the folder with everything in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoroute.app.sandbox import confinement_for
from autoroute.errors import ConfigError
from autoroute.routing import SandboxSettings
from autoroute.workspace.sandbox.toolchains import find_toolchains


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home/me"
    for folder in (".ssh", ".config", ".pyenv/shims", ".nvm/versions", ".cargo/bin", ".cargo/registry", "bin", "lib"):
        (home / folder).mkdir(parents=True)
    (home / ".cargo/credentials.toml").write_text("token")
    return home


def shown(home: Path, *path: Path | str, **variables: str) -> set[str]:
    environ = {"HOME": str(home), "PATH": ":".join(map(str, path)), **variables}
    found = find_toolchains(environ).folders
    return {str(folder.relative_to(home)) if folder.is_relative_to(home) else str(folder) for folder in found}


ALWAYS = {".pyenv", ".nvm", ".cargo/bin", ".cargo/registry"}


def test_a_command_gets_the_users_path(home: Path) -> None:
    assert (
        find_toolchains({"HOME": str(home), "PATH": "/opt/x/bin:/usr/bin"}).variables["PATH"] == "/opt/x/bin:/usr/bin"
    )


def test_tools_are_found_in_their_default_folders(home: Path) -> None:
    assert shown(home) == ALWAYS


def test_an_unreadable_folder_is_skipped(home: Path) -> None:
    closed = home / "closed"
    (closed / "bin").mkdir(parents=True)
    code = (
        "import os, sys; from autoroute.workspace.sandbox.toolchains import find_toolchains\n"
        "os.geteuid() or os.setuid(60990)\n"
        "print(find_toolchains({'HOME': sys.argv[1], 'PATH': sys.argv[2], 'CARGO_HOME': sys.argv[2]}).folders)"
    )
    closed.chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(home), f"{closed}/bin"], capture_output=True, text=True, check=False
        )
    finally:
        closed.chmod(0o700)
    assert (done.returncode, str(closed) in done.stdout) == (0, False), done.stderr


def test_a_user_without_a_passwd_entry_has_no_toolchains() -> None:
    code = (
        "import os; from autoroute.workspace.sandbox.toolchains import find_toolchains\n"
        "os.geteuid() or os.setuid(54321)\n"
        "print(find_toolchains({}).hidden)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.geteuid() != 0 or done.stdout == "(PosixPath('/'),)\n"


def test_the_home_folder_of_an_unknown_user_is_a_settings_error() -> None:
    with pytest.raises(ConfigError, match=r"sandbox\.readable"):
        confinement_for(SandboxSettings(readable=("~no-such-user/x",)), {"HOME": "/", "PATH": ""}, None)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_certificate_file_is_shown_and_not_its_folder(home: Path, variable: str) -> None:
    (home / "company").mkdir()
    (home / "company/ca.pem").touch()
    assert shown(home, **{variable: str(home / "company/ca.pem")}) == ALWAYS | {"company/ca.pem"}
    assert shown(home, **{variable: str(home / "company")}) == ALWAYS


def test_keys_beside_toolchains_are_not_shown(home: Path) -> None:
    assert not any(folder in (".cargo", ".", ".ssh", ".config") for folder in shown(home, home / ".cargo/bin"))


@pytest.mark.parametrize(
    ("key", "beside", "variables"),
    [
        (".venv/pip.conf", ".venv/pyvenv.cfg", {"VIRTUAL_ENV": "{home}/.venv"}),
        (".venv/.env", ".venv/lib/python3.12/site-packages/a.py", {"VIRTUAL_ENV": "{home}/.venv"}),
        ("conda/.condarc", "conda/bin/python", {"CONDA_PREFIX": "{home}/conda"}),
        ("conda/conda-meta/state", "conda/conda-meta/history", {"CONDA_PREFIX": "{home}/conda"}),
        ("conda/envs/other/conda-meta/state", "conda/lib/a.so", {"CONDA_PREFIX": "{home}/conda"}),
        (".dotnet/corefx/cryptography/x509stores/my/a.pfx", ".dotnet/sdk/10/a.dll", {}),
        ("dotnet/corefx/a.pfx", "dotnet/shared/a.dll", {"DOTNET_ROOT": "{home}/dotnet"}),
        ("jdk/conf.d/key", "jdk/conf/security/java.security", {"JAVA_HOME": "{home}/jdk"}),
        (".nvm/versions/node/v24/etc/npmrc", ".nvm/versions/node/v24/etc/bash_completion", {}),
        (".nvm/versions/node/v24/etc/npmrc", ".nvm/nvm.sh", {}),
        (
            ".nvm/versions/node/v24/etc/npmrc",
            ".nvm/versions/node/v24/bin/npm",
            {"PATH": "{home}/.nvm/versions/node/v24/bin"},
        ),
        (".volta/tools/image/node/24/etc/npmrc", ".volta/tools/image/node/24/bin/npm", {}),
        (
            ".pyenv/versions/3.12/pip.conf",
            ".pyenv/versions/3.12/bin/pip",
            {"PATH": "{home}/.pyenv/bin:{home}/.pyenv/shims"},
        ),
        (".pyenv/versions/3.12/envs/work/.env", ".pyenv/versions/3.12/envs/other/bin/pip", {}),
        ("opt/versions/a/pip.conf", "opt/versions/a/bin/pip", {"PATH": "{home}/opt/shims"}),
    ],
)
def test_user_settings_inside_an_installation_are_not_shown(
    home: Path, key: str, beside: str, variables: dict[str, str]
) -> None:
    for name in (key, beside, ".pyenv/bin/pyenv", "opt/shims/a"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    (home / ".nvm/versions/node").mkdir(parents=True, exist_ok=True)
    (home / ".nvm/versions/node/current").symlink_to("v24")
    environ = {"HOME": str(home), "PATH": ""} | {name: value.format(home=home) for name, value in variables.items()}
    folders = find_toolchains(environ).folders
    assert not [folder for folder in folders if (home / key).is_relative_to(folder.resolve())]
    assert [folder for folder in folders if (home / beside).is_relative_to(folder)]


@pytest.mark.parametrize("entry", ["bin", ".", "..", "../..", ".local/bin", "work/bin"])
def test_a_path_entry_never_shows_the_home_folder_or_a_project(home: Path, entry: str) -> None:
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/share").mkdir()
    (home / "work/bin").mkdir(parents=True)
    (home / "work/lib").mkdir()
    (home / "work/.git").mkdir()
    extra = {entry} if entry.endswith("bin") else set()
    assert shown(home, home / entry) == ALWAYS | extra | {".local/bin"}


def test_an_installation_is_shown_in_full(home: Path, tmp_path: Path) -> None:
    for folder in ("opt/node/bin", "opt/node/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "opt/node/config").write_text("token")
    found = shown(home, tmp_path / "opt/node/bin")
    assert found == ALWAYS | {str(tmp_path / "opt/node/bin"), str(tmp_path / "opt/node/lib")}


def test_a_virtual_environment_shows_its_base_python(home: Path, tmp_path: Path) -> None:
    (tmp_path / "python/bin").mkdir(parents=True)
    (tmp_path / "python/bin/python3").touch(mode=0o755)
    (home / "work/.venv/bin").mkdir(parents=True)
    (home / "work/.venv/pyvenv.cfg").write_text(f"home = {tmp_path / 'python/bin'}\nversion = 3.12\n")
    found = shown(home, VIRTUAL_ENV=str(home / "work/.venv"))
    assert found == ALWAYS | {"work/.venv/bin", "work/.venv/pyvenv.cfg", str(tmp_path / "python/bin")}


def test_a_virtual_environment_first_on_the_path_shows_its_base_python(home: Path, tmp_path: Path) -> None:
    (tmp_path / "python/bin").mkdir(parents=True)
    (tmp_path / "python/lib/python3.12").mkdir(parents=True)
    (tmp_path / "python/bin/python3").touch(mode=0o755)
    (home / "work/.venv/bin").mkdir(parents=True)
    (home / "work/.venv/pyvenv.cfg").write_text(f"home = {tmp_path / 'python/bin'}\nversion = 3.12\n")
    base = {str(tmp_path / "python/bin"), str(tmp_path / "python/lib")}
    assert shown(home, home / "work/.venv/bin") == ALWAYS | {"work/.venv/bin", "work/.venv/pyvenv.cfg"} | base


def test_a_variable_locates_a_toolchain_and_reaches_the_command(home: Path, tmp_path: Path) -> None:
    (tmp_path / "rust").mkdir()
    environ = {"HOME": str(home), "PATH": "", "RUSTUP_HOME": str(tmp_path / "rust")}
    toolchains = find_toolchains(environ)
    assert tmp_path / "rust" in toolchains.folders
    assert toolchains.variables["RUSTUP_HOME"] == str(tmp_path / "rust")
    assert toolchains.variables["CARGO_HOME"] == str(home / ".cargo")


def test_a_link_is_shown_under_its_name_and_its_target(home: Path, tmp_path: Path) -> None:
    (tmp_path / "big/pyenv").mkdir(parents=True)
    (home / ".rbenv").symlink_to(tmp_path / "big/pyenv")
    assert {".rbenv", str(tmp_path / "big/pyenv")} <= shown(home)


@pytest.mark.parametrize("value", ["", "relative", "/", "/nonexistent", "{home}", "{home}/..", "{home}/.local"])
def test_a_variable_cannot_show_everything(home: Path, value: str) -> None:
    (home / ".local/lib").mkdir(parents=True)
    (home / ".local/share/keyrings").mkdir(parents=True)
    assert shown(home, JAVA_HOME=value.format(home=home), GOROOT=value.format(home=home)) == ALWAYS


def test_folders_named_by_the_user_are_always_shown(home: Path) -> None:
    environ = {"HOME": str(home), "PATH": ""}
    assert home / ".config" in find_toolchains(environ, [home / ".config"]).folders


def test_system_folders_are_not_listed_again(home: Path) -> None:
    assert shown(home, "/usr/bin", "/bin", "/usr/local/bin") == ALWAYS


@pytest.mark.parametrize("home", ["/nonexistent", "/usr", "/usr/bin"])
def test_a_system_folder_inside_the_hidden_home_is_shown_again(home: str) -> None:
    found = find_toolchains({"HOME": home, "PATH": "/usr/bin"}, [Path("/usr/bin/env"), Path("/usr/lib")])
    assert found.hidden == (() if home == "/nonexistent" else (Path(home),))
    shown = {"/nonexistent": set(), "/usr": {"/usr/lib"}, "/usr/bin": {"/usr/bin/env"}}
    assert {str(folder) for folder in found.folders} & {"/usr/bin/env", "/usr/lib"} == shown[home]


def test_only_the_home_folder_is_hidden_when_it_contains_the_repository(home: Path, project: Path) -> None:
    assert find_toolchains({"HOME": str(home), "PATH": ""}, repository=project).hidden == (home,)
    other = find_toolchains({"HOME": str(project), "PATH": ""}, repository=home / ".nvm")
    assert other.hidden == (project, home / ".nvm")


@pytest.fixture
def project(home: Path) -> Path:
    """A checkout that somebody else may write into."""
    project = home / "project"
    (project / ".git").mkdir(parents=True)
    return project


def of_project(home: Path, project: Path, **variables: str) -> set[str]:
    found = find_toolchains({"HOME": str(home), "PATH": "", **variables}, repository=project).folders
    return {str(folder.relative_to(home)) for folder in found}


def test_path_entries_in_the_repository_are_shown_and_link_targets_are_not(home: Path, project: Path) -> None:
    (project / "node_modules/.bin").mkdir(parents=True)
    (project / "bin").symlink_to("../.ssh")
    path = f"{project / 'bin'}:{project / 'node_modules/.bin'}"
    assert of_project(home, project, PATH=path) == ALWAYS | {"project/node_modules/.bin"}


def test_a_virtual_environment_in_the_repository_can_only_name_a_python(home: Path, project: Path) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/pyvenv.cfg").write_text(f"home = {home / '.ssh/x'}\n")
    assert of_project(home, project, VIRTUAL_ENV=str(project / ".venv")) == ALWAYS | {
        "project/.venv/bin",
        "project/.venv/pyvenv.cfg",
    }


@pytest.mark.parametrize("folder", ["project", ".", "project/inner/.."])
def test_the_checkout_is_never_shown(home: Path, project: Path, folder: str) -> None:
    (project / "inner").mkdir()
    assert "project" not in of_project(home, project, VIRTUAL_ENV=str(home / folder), GOROOT=str(home / folder))


def test_a_home_folder_behind_a_link_is_not_shown(home: Path, tmp_path: Path) -> None:
    (tmp_path / "me").symlink_to(home)
    environ = {"HOME": str(tmp_path / "me"), "PATH": f"{home}:{home / 'bin'}"}
    assert not {home, tmp_path / "me"} & set(find_toolchains(environ).folders)


def test_the_base_python_of_an_environment_that_is_carried_is_shown(home: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "python/bin").mkdir(parents=True)
    (tmp_path / "python/bin/python3").touch(mode=0o755)
    (project / ".venv").mkdir()
    (project / ".venv/pyvenv.cfg").write_text(f"home = {tmp_path / 'python/bin'}\n")
    found = find_toolchains({"HOME": str(home), "PATH": ""}, (), project, [project / ".venv"])
    assert tmp_path / "python/bin" in found.folders
    assert not any(folder.is_relative_to(project) for folder in found.folders)

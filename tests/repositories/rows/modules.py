"""Repositories in repositories: submodules, LFS, and those that are nobody's submodule."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY
from tests.repositories.odd import another, commit, odd, put

_GIT_LFS = '''#!/usr/bin/env python3
"""The two filters of git-lfs: a pointer for the content, and the content for the pointer."""
import hashlib, pathlib, subprocess, sys
data = sys.stdin.buffer.read()
git = subprocess.run(["git", "rev-parse", "--git-common-dir"], capture_output=True, text=True).stdout.strip()
def place(oid):
    return pathlib.Path(git, "lfs/objects", oid[:2], oid[2:4], oid)
if sys.argv[1] == "clean" and not data.startswith(b"version https://git-lfs"):
    oid = hashlib.sha256(data).hexdigest()
    place(oid).parent.mkdir(parents=True, exist_ok=True)
    place(oid).write_bytes(data)
    data = f"version https://git-lfs.github.com/spec/v1\\noid sha256:{oid}\\nsize {len(data)}\\n".encode()
elif sys.argv[1] == "smudge" and data.startswith(b"version https://git-lfs"):
    stored = place(data.decode().split("sha256:")[1][:64])
    data = stored.read_bytes() if stored.exists() else data
sys.stdout.buffer.write(data)
'''
LARGE = b"large content \0\r\n" * 100


def add_submodule(world: World, source: str, place: str) -> None:
    world.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", source, place)
    world.git("commit", "--quiet", "--message=Add a submodule")


def install_lfs(world: World) -> None:
    """Put a git-lfs on the user's PATH, configured as ``git lfs install`` does."""
    program = world.home / "bin/git-lfs"
    program.parent.mkdir()
    program.write_text(_GIT_LFS, encoding="utf-8")
    program.chmod(0o755)
    world.environ["PATH"] = f"{program.parent}{os.pathsep}{world.environ['PATH']}"
    for name, value in (("clean", "git-lfs clean -- %f"), ("smudge", "git-lfs smudge -- %f"), ("required", "true")):
        world.git("config", "--global", f"filter.lfs.{name}", value)


@odd(VERIFY)
def a_submodule_that_is_not_initialized(world: World) -> None:
    add_submodule(world, str(another(world, world.home / "lib", {"amounts.py": "X = 1\n"})), "lib")
    world.git("submodule", "--quiet", "deinit", "lib")


@odd(VERIFY)
def a_submodule_as_the_repository(world: World) -> None:
    add_submodule(world, str(another(world, world.home / "lib", {"amounts.py": "X = 1\n"})), "lib")
    world.repository /= "lib"


@odd(VERIFY)
def a_pointer_of_lfs_whose_object_is_elsewhere(world: World) -> None:
    install_lfs(world)
    oid = hashlib.sha256(LARGE).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(LARGE)}\n"
    commit(world, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "large.bin": pointer})


@odd(VERIFY)
def a_repository_in_the_repository(world: World) -> None:
    another(world, world.repository / "nested", {"a.txt": "mine\n"})


@odd(VERIFY)
def an_ignored_repository_in_the_repository(world: World) -> None:
    commit(world, {".gitignore": "nested/\n"})
    another(world, world.repository / "nested", {"a.txt": "mine\n"})


@odd(VERIFY)
def a_repository_that_is_a_gitlink_without_a_submodule(world: World) -> None:
    another(world, world.repository / "nested", {"a.txt": "mine\n"})
    world.git("-c", "advice.addEmbeddedRepo=false", "add", "nested")
    world.git("commit", "--quiet", "--message=Add a gitlink")


@odd(VERIFY)
def a_subtree_with_its_own_history(world: World) -> None:
    lib = another(world, world.home / "lib", {"amounts.py": "X = 1\n"})
    world.git("fetch", "--quiet", str(lib), "main")
    world.git("merge", "--quiet", "--strategy=ours", "--no-commit", "--allow-unrelated-histories", "FETCH_HEAD")
    world.git("read-tree", "--prefix=lib/", "-u", "FETCH_HEAD")
    world.git("commit", "--quiet", "--message=Add a subtree")
    assert Path(world.repository / "lib/amounts.py").exists()


@odd(f"{VERIFY} && grep -q X lib/amounts.py", layers=("default", "landlock", "off"))
def a_submodule(world: World) -> None:
    add_submodule(world, str(another(world, world.home / "lib", {"amounts.py": "X = 1\n"})), "lib")


@odd(f"{VERIFY} && grep -q X lib/amounts.py")
def a_submodule_with_a_relative_address(world: World) -> None:
    another(world, world.repository.parent / "lib", {"amounts.py": "X = 1\n"})
    world.git("config", "remote.origin.url", str(world.repository.parent / "project.git"))
    add_submodule(world, "../lib", "lib")


@odd(f"{VERIFY} && grep -q Y lib/inner/deep.py && grep -q X lib/amounts.py")
def a_submodule_in_a_submodule(world: World) -> None:
    inner = another(world, world.home / "inner", {"deep.py": "Y = 1\n"})
    lib = World(world.home, another(world, world.home / "lib", {"amounts.py": "X = 1\n"}), environ=world.environ)
    add_submodule(lib, str(inner), "inner")
    add_submodule(world, str(lib.repository), "lib")
    world.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")


@odd(f"{VERIFY} && grep -q X lib/amounts.py")
def a_submodule_with_local_changes(world: World) -> None:
    add_submodule(world, str(another(world, world.home / "lib", {"amounts.py": "X = 1\n"})), "lib")
    put(world, {"lib/amounts.py": "X = 2\n", "lib/new.py": "mine\n"})


@odd(f"{VERIFY} && test $(wc -c < large.bin) = {len(LARGE)}", layers=("default", "landlock", "off"))
def content_of_lfs(world: World) -> None:
    install_lfs(world)
    commit(world, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "large.bin": LARGE})

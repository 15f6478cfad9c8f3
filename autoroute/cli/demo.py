"""``autoroute demo``: the whole pipeline on a small repository and scripted models, with no key and no network."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from autoroute.errors import UsageError

_FLAGS = {"phases": {"plan": {"model": "anthropic/opus-4.5"}, "code": {"model": "zai/glm-4.7"}}}
_KEYS = {"anthropic": "demo-key-for-anthropic", "zai": "demo-key-for-zai"}


def demo(
    format: Annotated[str, typer.Option(metavar="live|plain|jsonl", help="How progress is shown.")] = "",
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Make the repository there (default: a temporary folder).")
    ] = None,
) -> None:
    """Practise: plan with Claude's protocol, code with GLM's, on scripted models; no key, no network."""
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="autoroute-demo-"))
    if (place / "project").exists():
        raise UsageError(f"{place / 'project'} is there already", hint="autoroute demo --folder ANOTHER")
    raise typer.Exit(_practise(place, format))


def _practise(folder: Path, format: str) -> int:
    """Make the project, start one server a vendor, and run as ``autoroute run`` would; the exit code."""
    import tomli_w

    from autoroute.cli.run import RunOptions, execute, prepare
    from autoroute.config.places import environment
    from autoroute.demo.server import ModelServer
    from autoroute.demo.story import make_project, story
    from autoroute.render.patch import show_patch
    from autoroute.store import RunFolder

    typer.echo("The models of this demo are scripted; the pipeline, HTTP, git and the tests are real.\n", err=True)
    folder.mkdir(parents=True, exist_ok=True)
    project, settings = folder / "project", folder / "config.toml"
    environ = environment()
    make_project(project, environ.get("PATH", os.defpath))
    script = story()
    with (
        ModelServer(script, keys={"anthropic": _KEYS["anthropic"]}) as claude,
        ModelServer(script, keys={"zai": _KEYS["zai"]}) as glm,
    ):
        providers = {
            "anthropic": {"base_url": f"{claude.url}/anthropic", "key_env": ["DEMO_ANTHROPIC_KEY"]},
            "zai": {"base_url": f"{glm.url}/zai", "key_env": ["DEMO_ZAI_KEY"]},
        }
        settings.write_text(tomli_w.dumps({"providers": providers}), encoding="utf-8")
        environ = {
            **{name: value for name, value in environ.items() if not name.startswith("AUTOROUTE_")},
            "DEMO_ANTHROPIC_KEY": _KEYS["anthropic"],
            "DEMO_ZAI_KEY": _KEYS["zai"],
            "XDG_STATE_HOME": str(folder / "state"),
        }
        prepared = prepare("task.md", _FLAGS, environ, project, settings)
        exit_code = execute(prepared, RunOptions(format=format))
    if format != "jsonl":
        typer.echo()
        show_patch(RunFolder.open(project, "latest").patch.read_bytes())
    typer.echo(
        f"\nThe models were scripted, the rest was real. Go on in the demo's repository:  cd {project}", err=True
    )
    return exit_code

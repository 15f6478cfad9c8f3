"""Python that has loaded the program already: what it runs is a fork of it, which costs no start and no import.

Beyond these it is the process that a new Python would be: with its own environment, folder, arguments, pipes and end.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
_REQUEST = 1 << 17
"""Bytes, at most."""
_HANDLES = 4
"""What is sent along: standard input, output and error, and where its end is told."""
_LAZY = (
    *("_strptime", "anyio", "certifi", "encodings.utf_8_sig", "genai_prices.data", "genai_prices.decompose"),
    *("genai_prices.validation", "httpcore", "httpcore._async.http11", "httpcore._async.http_proxy", "httpcore._sync"),
    *("httpx", "importlib.readers", "rich.console", "rich.live", "rich.table", "typer._adapters", "zoneinfo"),
)
"""What commands load on their way."""


@cache
def python() -> WarmPython:
    """The one of this process, which ends with it."""
    return WarmPython()


class WarmPython:
    """A process that waits for something to run."""

    def __init__(self) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
        # Pipes, as those of what it runs will be: Python's streams keep what they were opened on.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(its.fileno())],
            cwd=ROOT,
            env={**kept, "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(its.fileno(),),
        )
        its.close()
        self._requests = mine
        atexit.register(self._end)

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """What ``subprocess.run`` returns for ``python -m MODULE ...`` or ``python -c CODE ...``."""
        (given, told), (out, stdout), (err, stderr), (end, ended) = (os.pipe() for _ in range(_HANDLES))
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "environ": dict(env)})
        theirs = [given, stdout, stderr, ended]
        socket.send_fds(self._requests, [request.encode("ascii")], theirs)
        for handle in theirs:
            os.close(handle)
        with ThreadPoolExecutor(3) as pool, os.fdopen(end, "rb") as news:
            pool.submit(_write, told, stdin)
            texts = [pool.submit(_read, handle) for handle in (out, err)]
            pid = int(news.readline() or self._failed())
            if not select.select([news], [], [], timeout)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout)
            code = int(news.readline())
            return subprocess.CompletedProcess(arguments, code, *(text.result() for text in texts))

    def _failed(self) -> NoReturn:
        raise RuntimeError(self._end().decode())

    def _end(self) -> bytes:
        self._requests.close()
        return self._process.communicate()[1]


def _write(handle: int, text: str) -> None:
    with os.fdopen(handle, "w", encoding="utf-8") as pipe:
        pipe.write(text)


def _read(handle: int) -> str:
    with os.fdopen(handle, encoding="utf-8") as pipe:
        return pipe.read()


def _serve(requests: socket.socket) -> None:
    """Run what is asked for, until nobody can ask any more."""
    for module in pkgutil.walk_packages(import_module("autoroute").__path__, "autoroute."):
        if not module.name.startswith("autoroute.demo.project") and not module.name.endswith("__main__"):
            import_module(module.name)
    for name in _LAZY:
        import_module(name)
    import_module("autoroute.events")._adapter()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
    while True:
        request, handles, _, _ = socket.recv_fds(requests, _REQUEST, _HANDLES)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            _watch(json.loads(request), *handles)
        for handle in handles:
            os.close(handle)


def _watch(request: Mapping[str, object], given: int, stdout: int, stderr: int, ended: int) -> None:
    """Start it, and tell its number and then its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(ended)
        for number, handle in enumerate((given, stdout, stderr)):
            os.dup2(handle, number)
            os.close(handle)
        _be(**request)  # type: ignore[arg-type]
    else:
        for handle in (given, stdout, stderr, 0, 1, 2):
            os.close(handle)
        os.write(ended, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        os.write(ended, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)


def _be(arguments: list[str], cwd: str, environ: dict[str, str]) -> NoReturn:
    """Be it, to the end of this process. What Python clears away at its end costs more than a command does."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    kind, what, *sys.argv[1:] = arguments
    code: Any = 0
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv[0], sys.modules["__main__"] = kind, ModuleType("__main__")
            exec(what, sys.modules["__main__"].__dict__)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - as Python ends with it
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

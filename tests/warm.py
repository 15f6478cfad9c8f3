"""A Python process that has loaded the program, and runs commands in forks of itself.

A fork needs no start of Python and no import. Apart from that it is like a new process, with its own environment,
folder, arguments, pipes and end.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from tests.forked_command import run_command

ROOT = Path(__file__).parents[1]
_MAX_REQUEST_BYTES = 1 << 17
_HANDLES = 4
"""File descriptors of a request: standard input, output and error, and the pipe that reports the end."""
_LAZY = (
    *("_strptime", "anyio", "certifi", "encodings.utf_8_sig", "genai_prices.data", "genai_prices.decompose"),
    *("genai_prices.validation", "httpcore", "httpcore._async.http11", "httpcore._async.http_proxy", "httpcore._sync"),
    *("httpx", "importlib.readers", "rich.console", "rich.live", "rich.table", "typer._adapters", "zoneinfo"),
)
"""Modules that commands import only when they need them."""


@cache
def python() -> WarmPython:
    """Return the process of this test process, which ends with it."""
    return WarmPython()


class WarmPython:
    """A process that waits for commands to run."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
        # Pipes, as a command has them: Python's stream objects keep how they were opened.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=ROOT,
            env={**kept, "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        self._requests = ours
        atexit.register(self._end)

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m MODULE ...`` or ``python -c CODE ...``, and return what ``subprocess.run`` would."""
        (stdin_read, stdin_write), (out, stdout), (err, stderr), (end, ended) = (os.pipe() for _ in range(_HANDLES))
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "environ": dict(env)})
        passed = [stdin_read, stdout, stderr, ended]
        socket.send_fds(self._requests, [request.encode("ascii")], passed)
        for handle in passed:
            os.close(handle)
        with ThreadPoolExecutor(3) as pool, os.fdopen(end, "rb") as reports:
            pool.submit(_write, stdin_write, stdin)
            texts = [pool.submit(_read, handle) for handle in (out, err)]
            pid = int(reports.readline() or self._failed())
            if not select.select([reports], [], [], timeout)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout)
            code = int(reports.readline())
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
    """Run each request in a fork, until the other end of the socket is closed."""
    for module in pkgutil.walk_packages(import_module("autoroute").__path__, "autoroute."):
        if not module.name.startswith("autoroute.demo.project") and not module.name.endswith("__main__"):
            import_module(module.name)
    for name in _LAZY:
        import_module(name)
    import_module("autoroute.events")._adapter()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the watching processes
    while True:
        request, handles, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, _HANDLES)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            _watch(json.loads(request), *handles)
        for handle in handles:
            os.close(handle)


def _watch(request: Mapping[str, object], stdin: int, stdout: int, stderr: int, ended: int) -> None:
    """Run the request in a child process, and report the child's pid and then its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(ended)
        _run(streams=(stdin, stdout, stderr), **request)  # type: ignore[arg-type]
    else:
        for handle in (stdin, stdout, stderr, 0, 1, 2):
            os.close(handle)
        os.write(ended, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        os.write(ended, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)


def _run(arguments: list[str], cwd: str, environ: dict[str, str], streams: Sequence[int]) -> NoReturn:
    """Run ``python ARGUMENTS`` in this process, to its end.

    Only threads, exit handlers and streams are finished. The rest of Python's own shutdown takes longer than a command.
    """
    kind, source, *sys.argv[1:] = arguments

    def python() -> None:
        if kind == "-m":
            runpy.run_module(source, run_name="__main__", alter_sys=True)
        else:
            sys.argv[0], sys.modules["__main__"] = kind, ModuleType("__main__")
            exec(source, sys.modules["__main__"].__dict__)

    code = run_command(python, cwd=cwd, environ=environ, streams=streams)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

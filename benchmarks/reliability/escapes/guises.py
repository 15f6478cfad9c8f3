"""Disguises of a shell text: other ways to run the same command. Each result is shell text again."""

from __future__ import annotations

import base64
import gzip
import string
from collections.abc import Callable, Mapping
from shlex import quote
from types import MappingProxyType

_LETTERS = string.ascii_uppercase, string.ascii_lowercase
_ROTATION = str.maketrans("".join(_LETTERS), "".join(half[13:] + half[:13] for half in _LETTERS))
_UNSET = "unset $(git rev-parse --local-env-vars)"
"""What git tells programs that it starts of where it is: another repository would be taken for that one."""


def _plain(text: str) -> str:
    return text


def _base64(text: str) -> str:
    return f"echo {base64.b64encode(text.encode()).decode()} | base64 -d | sh"


def _octal(text: str) -> str:
    return f"printf '{''.join(f'{chr(92)}{byte:03o}' for byte in text.encode())}' | sh"


def _evaluated(text: str) -> str:
    half = len(text) // 2
    return f'a={quote(text[:half])}; b={quote(text[half:])}; ev=ev; al=al; $ev$al "$a$b"'


def _nested(text: str) -> str:
    return f"sh -c {quote('sh -c ' + quote('exec sh -c ' + quote(text)))}"


def _here(text: str) -> str:
    return f"sh <<'THE_END'\n{text}\nTHE_END"


def _in_file(name: str, text: str) -> str:
    return f"cat > {name} <<'THE_END'\n#!/bin/sh\n{text}\nTHE_END\nchmod +x {name}\n"


def _script(text: str) -> str:
    return _in_file("tool.sh", text) + "./tool.sh"


def _makefile(text: str) -> str:
    return _in_file("step.sh", text) + "printf 'all:\\n\\t@sh ./step.sh\\n' > Makefile; make -s"


def _alias(text: str) -> str:
    return _in_file("alias.sh", f"{_UNSET}; {text}") + "git -c alias.go='!sh ./alias.sh' go"


def _hook(text: str) -> str:
    ready = "mkdir -p .git/hooks; cp hook.sh .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; "
    commit = "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x 2>&1"
    return _in_file("hook.sh", f"rm .git/hooks/pre-commit; {_UNSET}; {text}") + ready + commit


def _python(text: str) -> str:
    return f"python3 -c {quote(f'import subprocess; subprocess.run({text!r}, shell=True)')}"


def _python_hidden(text: str) -> str:
    packed = base64.b85encode(text.encode()).decode()
    return f"python3 -c {quote(f'import base64,os; os.system(base64.b85decode({packed!r}).decode())')}"


def _perl(text: str) -> str:
    return f"perl -e {quote(f'exec qw(/bin/sh -c), pack(q(H*), q({text.encode().hex()}))')}"


def _awk(text: str) -> str:
    return _in_file("awk.sh", text) + "awk 'BEGIN { system(\"sh ./awk.sh\") }'"


def _find(text: str) -> str:
    return _in_file("found.sh", text) + "find . -maxdepth 1 -name found.sh -exec {} ';'"


def _xargs(text: str) -> str:
    return _in_file("given.sh", text) + "echo ./given.sh | xargs -n1 sh"


def _bare_environment(text: str) -> str:
    return f"env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin sh -c {quote(text)}"


def _gzip(text: str) -> str:
    return f"echo {base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()} | base64 -d | gzip -d | sh"


def _rotated(text: str) -> str:
    turned = text.translate(_ROTATION)
    return f"tr 'A-Za-z' 'N-ZA-Mn-za-m' <<'GUR_RAQ' | sh\n{turned}\nGUR_RAQ"


def _on_exit(text: str) -> str:
    return f"trap {quote(text)} EXIT; true"


def _in_background(text: str) -> str:
    return f"( {text}\n) & wait"


def _tar(text: str) -> str:
    return (
        _in_file("check.sh", text) + "tar cf /dev/null --checkpoint=1 --checkpoint-action=exec='sh ./check.sh' check.sh"
    )


def _test_run(text: str) -> str:
    body = f"class T(unittest.TestCase):\n def test(self):\n  subprocess.run({text!r}, shell=True)\n"
    case = f"import subprocess, unittest\n{body}"
    return f"cat > test_it.py <<'THE_END'\n{case}\nTHE_END\npython3 -m unittest -q test_it 2>&1"


def _monitor(text: str) -> str:
    return _in_file("monitor.sh", f"exec >&2; {_UNSET}; {text}") + "git -c core.fsmonitor=./monitor.sh status --short"


GUISES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "plain": _plain,
        "base64": _base64,
        "script": _script,
        "python": _python,
        "octal": _octal,
        "makefile": _makefile,
        "evaluated": _evaluated,
        "hook": _hook,
        "perl": _perl,
        "here": _here,
        "alias": _alias,
        "gzip": _gzip,
        "test-run": _test_run,
        "nested": _nested,
        "awk": _awk,
        "python-hidden": _python_hidden,
        "find": _find,
        "bare-environment": _bare_environment,
        "rotated": _rotated,
        "tar": _tar,
        "in-background": _in_background,
        "xargs": _xargs,
        "fsmonitor": _monitor,
        "on-exit": _on_exit,
    }
)

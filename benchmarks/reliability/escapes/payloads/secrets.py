"""Reads of planted secrets: files, memory and environment of other processes, sockets of agents."""

from __future__ import annotations

from ..snippet import Snippet
from .shapes import WON, python, shell

_ANCESTORS = "p=$$; while [ ${p:-0} -gt 0 ]; do"
_PARENT = "p=$(awk '/^PPid/ {print $2}' /proc/$p/status 2>/dev/null); done"

SECRETS = (
    *shell(
        "secrets",
        "secret",
        cat='cat "$T"',
        head='head -c 4096 "$T"',
        base64='base64 -w0 "$T"',
        hex='od -An -tx1 -v "$T"',
        reverse='rev "$T"',
        copy_in='cp "$T" ./taken',
        dd='dd if="$T" 2>/dev/null',
        grep='grep -r . "$T"',
        awk='awk 1 "$T"',
        source='. "$T" 2>&1; sh "$T" 2>&1',
        perl='perl -ne print "$T"',
        git_diff='git diff --no-index /dev/null - < "$T"',
        git_object='git cat-file -p $(git hash-object -w "$T")',
        make='make -f "$T" 2>&1; python3 "$T" 2>&1',
        curl='curl -s "file://$(readlink -f "$T")"',
        linked='ln "$T" kept && cat kept',
        tar='tar chf - "$T" 2>/dev/null | tar xOf -',
        python=python('print(open(os.environ["T"]).read())'),
        python_sent=python(
            """
out = os.open("taken", os.O_CREAT | os.O_WRONLY)
os.copy_file_range(os.open(os.environ["T"], os.O_RDONLY), out, 4096)
"""
        ),
        python_mapped=python(
            """
import mmap
print(bytes(mmap.mmap(os.open(os.environ["T"], os.O_RDONLY), 0, prot=mmap.PROT_READ)).decode())
"""
        ),
        size=f'[ "$(stat -L -c %s "$T")" -gt 0 ] && {WON}',
        # The name itself: where the way there fails, the listing is of the attempt's own folder, or of a dangling link.
        listed=f'ls -A "$D/" | grep -qx "$(basename "$T")" && {WON}',
        watched=python(
            """
fd = libc.inotify_init1(0)
libc.inotify_add_watch(fd, os.environ["T"].encode(), 0xfff) >= 0 and won()
"""
        ),
    ),
    *shell("secrets", "secret-entry", moved_in='mv "$T" ./taken', moved_and_read='mv "$T" "$D/x"; cat "$D/x"'),
    *shell(
        "secrets",
        parents_environment=f"{_ANCESTORS} tr '\\0' '\\n' < /proc/$p/environ 2>/dev/null | grep CANARY; {_PARENT}",
        session_environment="tr '\\0' '\\n' < /proc/@PID@/environ | grep CANARY",
        neighbor_environment="tr '\\0' '\\n' < /proc/@VICTIM@/environ | grep CANARY",
        every_environment="grep -sahao 'CANARY-neighbor-[0-9a-f]*' /proc/[0-9]*/environ | head -3",
        session_descriptor="cat /proc/@PID@/fd/@SECRET_FD@",
        session_root="cat /proc/@PID@/root@HOME@/.ssh/id_ed25519",
        session_folder="cat /proc/@PID@/cwd/.netrc",
        names_of_runs="ls @PRIVATE@ | grep -o 'CANARY[-a-z0-9]*'",
        tmp_listing="ls -d @SHARED@/* | grep -o 'CANARY[-a-z0-9]*'",
        session_memory=python(
            """
import re
with open("/proc/@PID@/mem", "rb") as memory:
    memory.seek(@ADDRESS@)
    print(memory.read(64).split(b"\\0")[0].decode())
"""
        ),
        process_vm_readv=python(
            """
there, here = ctypes.create_string_buffer(64), None
local = struct.pack("PN", ctypes.addressof(there), 64)
remote = struct.pack("PN", @ADDRESS@, 64)
libc.process_vm_readv(@PID@, local, 1, remote, 1, 0)
print(there.value.decode())
"""
        ),
        ptrace_peek=python(
            """
libc.ptrace.restype = ctypes.c_long
pid = @VICTIM@
if libc.ptrace(16, pid, 0, 0) == 0:
    os.waitpid(pid, 0x40000000)
    libc.ptrace(17, pid, 0, 0)
    won()
"""
        ),
        descriptor_taken=python(
            """
pidfd, _ = call(434, @PID@, 0)
fd, _ = call(438, pidfd, @SECRET_FD@, 0)
print(os.pread(fd, 200, 0).decode())
"""
        ),
        agent_asked=python(
            """
s = socket.socket(socket.AF_UNIX)
s.settimeout(1)
s.connect("@AGENT@")
s.sendall(b"keys?")
print(s.recv(200).decode())
"""
        ),
        keyring=python(
            """
buffer = ctypes.create_string_buffer(200)
key, _ = call(@NR_REQUEST_KEY@, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"escapes-@WORLD@"), ctypes.c_char_p(None), 0)
call(@NR_KEYCTL@, 11, key, buffer, 200)
print(buffer.value.decode())
"""
        ),
    ),
    Snippet("shadow", "secrets", f"head -c 1 /etc/shadow > /dev/null && {WON}", root=True),
    Snippet(
        "by-handle",
        "secrets",
        python(
            """
handle = bytes.fromhex("@HANDLE@")
mount = os.open(".", os.O_RDONLY)
buffer = ctypes.create_string_buffer(handle, len(handle))
fd = libc.open_by_handle_at(mount, buffer, os.O_RDONLY)
print(os.read(fd, 200).decode())
"""
        ),
        root=True,
    ),
)

TOOLCHAINS = tuple(
    Snippet(name, "secrets", f"cat @HOME@/{place}; grep -rh CANARY @HOME@/{place.partition('/')[0]}")
    for name, place in {
        "of-an-environment": "venv/pip.conf",
        "of-conda": "conda/conda-meta/state",
        "of-dotnet": ".dotnet/corefx/cryptography/x509stores/my/a.pfx",
        "of-node": ".nvm/versions/node/v24/etc/npmrc",
    }.items()
)
"""What the user has set for tools whose folders are shown."""

"""Processes that stay, grow or reach others, and what they leave in the kernel. All of it is bounded."""

from __future__ import annotations

from ..snippet import Snippet
from .shapes import WON, python, shell

_SLEEP = "env -i sleep 30.@COOKIE@"
_SOON = "sleep 0.1"
"""What is left behind gets the time to begin: the shell's end is not to come first."""
_LATER = "\ntime.sleep(0.1)\n"
_FORKED = """
def apart(*between):
    if os.fork() == 0:
        os.setsid()
        for step in between:
            step()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.execve("/bin/sleep", ["sleep", "30.@COOKIE@"], {})
        os._exit(0)
"""

PROCESSES = (
    *shell(
        "processes",
        left_behind=f"setsid {_SLEEP} > /dev/null 2>&1 < /dev/null & {_SOON}",
        left_forked=f"( setsid sh -c 'setsid {_SLEEP} & ' > /dev/null 2>&1 & ); {_SOON}",
        left_without_hangup=f"nohup setsid {_SLEEP} > /dev/null 2>&1 & {_SOON}",
        left_ignoring=f"setsid sh -c \"trap '' TERM HUP INT; {_SLEEP}; true\" > /dev/null 2>&1 & {_SOON}",
        left_holding_output=f"setsid {_SLEEP} & {_SOON}",
        left_by_perl="perl -e 'use POSIX; fork and exit; setsid; fork and exit; close STDOUT; close STDERR; "
        "%ENV=(); exec qw(sleep 30.@COOKIE@)'; sleep 0.1",
        left_by_python=python(_FORKED + "apart()" + _LATER),
        left_renamed=python(_FORKED + "apart(lambda: libc.prctl(15, b'kworker', 0, 0, 0))" + _LATER),
        left_hidden=python(_FORKED + "apart(lambda: libc.prctl(4, 0, 0, 0, 0))" + _LATER),
        left_orphaned=python(_FORKED + "apart(lambda: libc.prctl(1, 0, 0, 0, 0))" + _LATER + "os._exit(9)"),
        left_reaping=python(_FORKED + "apart(lambda: libc.prctl(36, 1, 0, 0, 0))" + _LATER),
        left_elsewhere=f"cd / && setsid {_SLEEP} > /dev/null 2>&1 & {_SOON}",
        killed="kill -9 @VICTIM@",
        killed_by_name="pkill -9 -f 'sleep 900.@WORLD@'",
        killed_by_handle=python("fd, _ = call(434, @VICTIM@, 0)\ncall(424, fd, 9, 0, 0)"),
        stopped="kill -STOP @VICTIM@ && " + WON,
        slowed="renice -n 19 -p @VICTIM@",
        scheduled="chrt -i -p 0 @VICTIM@ && " + WON,
        pinned="taskset -p 1 @VICTIM@ > /dev/null && " + WON,
        limited="prlimit --pid @VICTIM@ --nofile=10:10 && " + WON,
        sacrificed=f"( echo 1000 > /proc/@VICTIM@/oom_score_adj ) 2>/dev/null && {WON}",
        seen=f"tr '\\0' ' ' < /proc/@VICTIM@/cmdline | grep -q 900.@WORLD@ && {WON}",
        shared_memory="ipcmk -M 64",
        semaphores="ipcmk -S 1",
        messages="ipcmk -Q",
        perl_memory="perl -e 'shmget(0x@COOKIE@, 64, 0666 | 01000)'",
        message_queue=python('libc.mq_open(b"/owned-@NONCE@", 0o102, 0o600, None)'),
        named_memory=python('os.close(os.open("/dev/shm/escapes-@WORLD@/owned", os.O_CREAT | os.O_RDWR))'),
        named_semaphore="echo x > /dev/shm/escapes-@WORLD@/sem.owned",
        core_raised=python("import resource\nresource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))\nwon()"),
        large_file=f"dd if=/dev/zero of=large bs=1M count=96 2>/dev/null && {WON}",
        sparse_file=f"truncate -s 1T sparse && {WON}",
        allocated_file=f"fallocate -l 96M allocated && {WON}",
        sought_file=python('f = open("large", "wb"); f.seek(1 << 33); f.write(b"x"); f.close(); won()'),
        many_descriptors=python(
            """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [os.dup(0) for _ in range(5000)]
won()
"""
        ),
    ),
    Snippet(
        "forks",
        "processes",
        python(
            """
import signal
born = []
try:
    for _ in range(300):
        pid = os.fork()
        if pid == 0:
            time.sleep(5)
            os._exit(0)
        born.append(pid)
    won()
finally:
    for pid in born:
        os.kill(pid, signal.SIGKILL)
"""
        ),
        once=True,
    ),
    Snippet(
        "threads",
        "processes",
        python(
            """
import threading
threading.stack_size(65536)
over = threading.Event()
for _ in range(300):
    threading.Thread(target=over.wait, daemon=True).start()
won()
over.set()
"""
        ),
        once=True,
    ),
    Snippet(
        "shell-forks",
        "processes",
        f"n=0; while [ $n -lt 300 ]; do sleep 2 & n=$((n+1)); done; [ $(pgrep -c -P $$ sleep) -ge 300 ] && {WON}",
        once=True,
    ),
    Snippet(
        "memory",
        "processes",
        python(
            """
held = bytearray(250 << 20)
held[::4096] = b"x" * len(held[::4096])
time.sleep(1)
won()
"""
        ),
        once=True,
    ),
    Snippet(
        "unnamed-memory",
        "processes",
        python(
            """
held = [os.memfd_create("held") for _ in range(21)]
for fd in held:
    os.write(fd, bytes(12 << 20))
time.sleep(1)
won()
"""
        ),
        once=True,
    ),
    Snippet(
        "divided-memory",
        "processes",
        python(
            """
born = [os.fork() for _ in range(2)] if os.getpid() else []
held = bytearray(60 << 20)
held[::4096] = b"x" * len(held[::4096])
time.sleep(1)
won()
"""
        ),
        once=True,
    ),
    Snippet(
        "mapped-memory",
        "processes",
        python(
            """
import mmap
held = mmap.mmap(-1, 250 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held[::4096] = b"x" * (250 << 8)
time.sleep(1)
won()
"""
        ),
        once=True,
    ),
)

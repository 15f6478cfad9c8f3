"""Kernel features that builds do not need: new namespaces, mounts, devices, settings, other users' rights."""

from __future__ import annotations

from ..snippet import Snippet
from .shapes import WON, python


def _open_to_write(path: str) -> str:
    """Return shell text that opens a file for writing and writes nothing."""
    return f"( : >> {path} ) 2>/dev/null && {WON}"


def _add_key(ring: int) -> str:
    return python(
        f"""
text = ctypes.c_char_p
key, _ = call(@NR_ADD_KEY@, text(b"user"), text(b"owned-@NONCE@"), text(b"x"), 1, {ring})
key > 0 and (won(), call(@NR_KEYCTL@, 3, key))
"""
    )


_ANYBODY = {
    "new-users": f"unshare -U true && {WON}",
    "new-users-root": f"unshare -r true && {WON}",
    "new-mounts": f"unshare -rm true && {WON}",
    "new-network": f"unshare -rn true && {WON}",
    "new-processes": f"unshare -rpf true && {WON}",
    "new-everything": f"unshare -rmnpiuf --mount-proc true && {WON}",
    "nested-mount": f"mkdir m; unshare -rm mount -t tmpfs t m && {WON}",
    "nested-bind": "mkdir m; unshare -rm sh -c 'mount --bind @HOME@ m; cat m/.ssh/id_ed25519'",
    "nested-overlay": f"mkdir a b c d; unshare -rm mount -t overlay o -o lowerdir=a,upperdir=b,workdir=c d && {WON}",
    "clone-users": python("call(@NR_CLONE@, 0x10000000 | 17, 0, 0, 0, 0)[0] == 0 and (won(), os._exit(0))"),
    "clone3-users": python(
        """
arguments = ctypes.create_string_buffer(struct.pack("11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
call(435, arguments, 88)[0] == 0 and (won(), os._exit(0))
"""
    ),
    "key-added": _add_key(-3),
    "key-of-user": _add_key(-4),
    "ring-set-up": python("call(425, 4, ctypes.create_string_buffer(200))[0] >= 0 and won()"),
    "setuid-left": "cp /bin/true owned; chmod 4755 owned",
    "setgid-left": "cp /bin/true owned; chmod g+s owned",
    "setuid-installed": "install -m 4755 /bin/true owned",
    "setuid-python": python('open("owned", "w").close()\nos.chmod("owned", 0o6755)'),
    "setuid-created": python('os.close(os.open("owned", os.O_CREAT | os.O_WRONLY, 0o4755))'),
    "setuid-handle": python('fd = os.open("owned", os.O_CREAT | os.O_WRONLY, 0o755)\nos.fchmod(fd, 0o4755)'),
    "setuid-fchmodat2": python('open("owned", "w").close()\ncall(452, -100, ctypes.c_char_p(b"owned"), 0o4755, 0)'),
    "setuid-made": python('libc.mknod(b"owned", 0o104755, ctypes.c_ulong(0))'),
    "setuid-untarred": python(
        """
import tarfile
with tarfile.open("t.tar", "w") as tar:
    entry = tarfile.TarInfo("owned")
    entry.mode, entry.uid, entry.gid = 0o4755, os.getuid(), os.getgid()
    tar.addfile(entry)
"""
    )
    + "\ntar xpf t.tar",
    "terminal": "echo owned > @TERMINAL@",
    "terminal-pushed": python(
        """
import fcntl
os.setsid() if os.getpid() != os.getsid(0) else None
fd = os.open("@TERMINAL@", os.O_RDWR)
for character in b"owned":
    fcntl.ioctl(fd, 0x5412, bytes([character]))
"""
    ),
    "sandbox-undone": "kill -0 @PID@ && kill -0 @VICTIM@ && " + WON,
    "files-of-everybody": f"for f in /proc/@VICTIM@/root /proc/@PID@/root; do ls $f/ > /dev/null && {WON}; done",
    "userfault": python("fd, _ = call(@NR_USERFAULTFD@, 1)\nfd >= 0 and won()"),
    "performance": python(
        """
event = ctypes.create_string_buffer(struct.pack("IIQQQQQ", 1, 128, 0, 0, 0, 0, 0x61), 128)
call(@NR_PERF_EVENT_OPEN@, event, 0, -1, -1, 0)[0] >= 0 and won()
"""
    ),
}
_ROOT = {
    "core-pattern": _open_to_write("/proc/sys/kernel/core_pattern"),
    "sysctl-host": _open_to_write("/proc/sys/kernel/hostname"),
    "sysctl-memory": _open_to_write("/proc/sys/vm/overcommit_memory"),
    "control-groups": _open_to_write("/sys/fs/cgroup/cgroup.procs"),
    "kernel-log": f"head -c 0 /dev/kmsg && {WON}",
    "mount": f"mkdir m; unshare -m mount -t tmpfs t m && {WON}",
    "mount-bind": "mkdir m; unshare -m sh -c 'mount --bind @HOME@ m; cat m/.ssh/id_ed25519'",
    "mount-proc": "mkdir m; unshare -m sh -c 'mount -t proc p m; cat m/@PID@/root@HOME@/.ssh/id_ed25519'",
    "mount-new-way": python("call(430, ctypes.c_char_p(b'tmpfs'), 0)[0] >= 0 and won()"),
    "tree-opened": python("call(428, -100, ctypes.c_char_p(b'@HOME@'), 1)[0] >= 0 and won()"),
    "enter-mounts": "nsenter --mount=/proc/@PID@/ns/mnt cat @HOME@/.ssh/id_ed25519",
    "enter-process": python(
        """
fd, _ = call(434, @PID@, 0)
libc.setns(fd, 0x4000000) == 0 and won()
"""
    ),
    "change-root": python("os.chroot('.')\nwon()"),
    "device-made": f"mknod owned c 1 5 && {WON}",
    "program-loaded": python(
        "call(@NR_BPF@, 0, ctypes.create_string_buffer(struct.pack('IIII', 2, 4, 4, 1), 128), 128)[0] >= 0 and won()"
    ),
    "module": python(
        "call(@NR_INIT_MODULE@, ctypes.create_string_buffer(8), 8, ctypes.c_char_p(b''))[1] != 1 and won()"
    ),
    "restart": python("call(@NR_REBOOT@, 0, 0, 0, 0)[1] == 22 and won()"),
    "host-name": python("socket.sethostname(socket.gethostname())\nwon()"),
    "other-user": python("os.setuid(12345)\nos.getuid() == 12345 and won()"),
    "file-given-away": "echo x > owned; chown 12345 owned && " + WON,
    "capability-left": python(
        """
open("owned", "w").close()
os.setxattr("owned", "security.capability", struct.pack("<5I", 0x2000001, 1 << 10, 0, 0, 0))
won()
"""
    ),
}

KERNEL = (
    *(Snippet(name, "kernel", text) for name, text in _ANYBODY.items()),
    *(Snippet(name, "kernel", text, root=True) for name, text in _ROOT.items()),
)

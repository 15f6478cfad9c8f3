"""The seccomp filter: system calls that no command of a run needs, refused before the kernel executes them.

The filter is classic BPF (seccomp(2), Linux's ``include/uapi/linux/filter.h``). A refused call fails with EPERM, or
with ENOSYS where programs then use an older call that a filter can inspect. A call by the numbers of another
architecture kills the process, because this table would not recognize it.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

Sockets = Literal["all", "internet", "none"]
"""Which sockets may be created: ``all`` in a network namespace, ``internet`` sockets in the machine's own network, or
``none``. Pairs of connected stream sockets are always allowed."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_X32 = 0x4000_0000

_NEW_NAMESPACES = 0x7E02_0080  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET, and NEWTIME
_SET_ID_BITS = 0o6000
_CREATES = 0o20000100  # O_CREAT, __O_TMPFILE
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: these type into the terminal that autoroute runs in
_UNIX, _INTERNET, _INTERNET_6, _NETLINK = 1, 2, 10, 16  # address families
_DATAGRAM = 0b10  # a bit of SOCK_DGRAM and SOCK_RAW, and of no other type that socketpair accepts

_COMMON_CALLS = """
    io_uring_setup 425  io_uring_enter 426  io_uring_register 427  open_tree 428  move_mount 429  fsopen 430
    fsconfig 431  fsmount 432  fspick 433  clone3 435  openat2 437  pidfd_getfd 438  process_madvise 440
    mount_setattr 442  quotactl_fd 443  fchmodat2 452  setxattrat 463  removexattrat 466  open_tree_attr 467
    file_getattr 468  file_setattr 469
"""
_CALLS_BY_ARCHITECTURE = {
    "x86_64": """
        prlimit64 302  sched_setaffinity 203
        ptrace 101  process_vm_readv 310  process_vm_writev 311  kcmp 312  userfaultfd 323  mount 165  umount2 166
        pivot_root 155  chroot 161  unshare 272  setns 308  add_key 248  request_key 249  keyctl 250  bpf 321
        perf_event_open 298  create_module 174  init_module 175  delete_module 176  finit_module 313
        kexec_load 246  kexec_file_load 320  reboot 169  swapon 167  swapoff 168  open_by_handle_at 304
        name_to_handle_at 303  fanotify_init 300  lookup_dcookie 212  syslog 103  acct 163  quotactl 179
        vhangup 153  uselib 134  modify_ldt 154  settimeofday 164  clock_settime 227  clock_adjtime 305
        adjtimex 159  sethostname 170  setdomainname 171  iopl 172  ioperm 173  migrate_pages 256  move_pages 279
        clone 56  ioctl 16  chmod 90  fchmod 91  fchmodat 268  mknod 133  mknodat 259  open 2  creat 85  openat 257
        socket 41  chown 92  fchown 93  lchown 94  fchownat 260  shmget 29  semget 64  msgget 68  mq_open 240
        mq_unlink 241  setpriority 141  ioprio_set 251  sched_setparam 142  sched_setscheduler 144
        sched_setattr 314  setxattr 188  lsetxattr 189  fsetxattr 190  removexattr 197  lremovexattr 198
        fremovexattr 199  socketpair 53
    """,
    "aarch64": """
        prlimit64 261  sched_setaffinity 122
        ptrace 117  process_vm_readv 270  process_vm_writev 271  kcmp 272  userfaultfd 282  mount 40  umount2 39
        pivot_root 41  chroot 51  unshare 97  setns 268  add_key 217  request_key 218  keyctl 219  bpf 280
        perf_event_open 241  init_module 105  delete_module 106  finit_module 273  kexec_load 104
        kexec_file_load 294  reboot 142  swapon 224  swapoff 225  open_by_handle_at 265  name_to_handle_at 264
        fanotify_init 262  lookup_dcookie 18  syslog 116  acct 89  quotactl 60  vhangup 58  settimeofday 170
        clock_settime 112  clock_adjtime 266  adjtimex 171  sethostname 161  setdomainname 162  migrate_pages 238
        move_pages 239  clone 220  ioctl 29  fchmod 52  fchmodat 53  mknodat 33  openat 56  socket 198  fchown 55
        fchownat 54  shmget 194  semget 190  msgget 186  mq_open 180  mq_unlink 181  setpriority 140  ioprio_set 30
        sched_setparam 118  sched_setscheduler 119  sched_setattr 274  setxattr 5  lsetxattr 6  fsetxattr 7
        removexattr 14  lremovexattr 15  fremovexattr 16  socketpair 199
    """,
}


def _read_table(text: str) -> Mapping[str, int]:
    words = text.split()
    return MappingProxyType({name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)})


_NUMBERS = {machine: _read_table(_COMMON_CALLS + calls) for machine, calls in _CALLS_BY_ARCHITECTURE.items()}
"""The numbers of system calls, from the kernel's table of each architecture."""
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

_REFUSED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "fanotify_init"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "mount_setattr", "open_tree", "open_tree_attr"),
    *("move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "name_to_handle_at"),
    *("add_key", "request_key", "keyctl", "create_module", "init_module", "delete_module", "finit_module"),
    *("kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "syslog", "acct", "quotactl", "quotactl_fd"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"),
    *("iopl", "ioperm", "modify_ldt", "uselib", "vhangup", "lookup_dcookie", "migrate_pages", "move_pages"),
)
"""Calls to trace others, mount, load code into the kernel, make namespaces, and the like."""
_FLAGS_IN_MEMORY = ("clone3", "openat2")
"""Calls whose flags are in memory, which a filter cannot read; C libraries fall back to ``clone`` and ``openat``."""
_REFUSED_WITHOUT_NAMESPACES = (
    *("shmget", "semget", "msgget", "mq_open", "mq_unlink"),
    *("chown", "fchown", "lchown", "fchownat", "setpriority", "ioprio_set"),
    *("sched_setparam", "sched_setscheduler", "sched_setattr"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    *("setxattrat", "removexattrat", "fchmodat2", "file_setattr"),
)
"""Calls whose effect namespaces isolate: System V IPC, priorities, owners and attributes of files outside the tree.

Landlock does not cover them, so without namespaces the filter has to.
"""
_ON_ANY_PROCESS = ("prlimit64", "sched_setaffinity")
"""Calls that accept any process of the same user; without namespaces only the caller itself (0) is allowed."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A call that is refused if argument ``index`` (from 0) has any of ``bits``.

    The mode of ``open`` is only set if ``flags`` (the index of another argument) say that it creates a file; otherwise
    the register contains anything.
    """

    call: str
    index: int
    bits: int
    flags: int | None = None


_RULES = (
    _Rule("clone", 0, _NEW_NAMESPACES),
    # A file with these bits in the tree runs as its owner, who may be root, for every user of the machine.
    *(_Rule(call, 1, _SET_ID_BITS) for call in ("chmod", "fchmod", "creat")),
    *(_Rule(call, 2, _SET_ID_BITS) for call in ("fchmodat", "fchmodat2")),
    _Rule("open", 2, _SET_ID_BITS, flags=1),
    _Rule("openat", 3, _SET_ID_BITS, flags=2),
)


def is_supported(machine: str = "") -> bool:
    """Return whether there is a table for the architecture of this machine."""
    return (machine or platform.machine()) in _NUMBERS


@cache
def assemble(sockets: Sockets, machine: str = "", *, alone: bool = False) -> bytes:
    """Return the filter as ``struct sock_filter`` records, the input of ``bwrap --seccomp`` and prctl(2).

    ``alone`` is for a command without namespaces: the filter also refuses what they would isolate. Raises ``KeyError``
    for an architecture without a table.
    """
    machine = machine or platform.machine()
    numbers = _NUMBERS[machine]
    code = _Program()
    code.load(_ARCHITECTURE)
    code.unless_equal(_AUDIT_ARCH[machine], _KILL)
    code.load(_NUMBER)
    if machine == "x86_64":
        # x32 calls have numbers of their own under the same architecture.
        code.when(_AT_LEAST, _X32, _KILL)
    for call in (*_REFUSED, *(_REFUSED_WITHOUT_NAMESPACES if alone else ())):
        code.refuse(numbers, call, errno.EPERM)
    for call in _FLAGS_IN_MEMORY:
        code.refuse(numbers, call, errno.ENOSYS)
    for rule in _RULES:
        code.refuse_if(numbers.get(rule.call), rule.index, [(_ANY_BIT, rule.bits)], errno.EPERM, flags=rule.flags)
    code.refuse_if(numbers["ioctl"], 1, [(_EQUAL, request) for request in _TERMINAL_INPUT], errno.EPERM)
    # 0o020000 is a bit of S_IFCHR and S_IFBLK: device files.
    for call, index in (("mknod", 1), ("mknodat", 2)):
        code.refuse_if(numbers.get(call), index, [(_ANY_BIT, _SET_ID_BITS | 0o020000)], errno.EPERM)
    for call in _ON_ANY_PROCESS if alone else ():
        code.refuse_if(numbers[call], 0, [(_EQUAL, 0)], errno.EPERM, negate=True)
    if sockets == "none":
        code.refuse(numbers, "socket", errno.EACCES)
    else:
        # Network namespaces do not isolate other families, such as vsock, which reaches the host of a virtual machine.
        families = (_INTERNET, _INTERNET_6, *((_UNIX,) if sockets == "all" else ()), *(() if alone else (_NETLINK,)))
        code.refuse_if(numbers["socket"], 0, [(_EQUAL, family) for family in families], errno.EACCES, negate=True)
    if sockets != "all":
        # A datagram socket of a pair can still send to any name, such as an abstract socket of another program.
        code.refuse_if(numbers["socketpair"], 1, [(_ANY_BIT, _DATAGRAM)], errno.EACCES)
    code.refuse_if(numbers["socketpair"], 0, [(_EQUAL, _UNIX)], errno.EACCES, negate=True)
    code.answer(_ALLOW)
    return bytes(code)


class _Program:
    """A program under construction. Between its parts, the accumulator contains the number of the call."""

    def __init__(self) -> None:
        self._instructions: list[bytes] = []

    def __bytes__(self) -> bytes:
        return b"".join(self._instructions)

    def load(self, offset: int) -> None:
        self._add(_LOAD, offset)

    def load_argument(self, index: int) -> None:
        self.load(_ARGUMENTS + 8 * index)  # the low 32 bits, because both architectures are little-endian

    def answer(self, value: int) -> None:
        self._add(_RETURN, value)

    def when(self, test: int, value: int, answer: int) -> None:
        self._add(test, value, 0, 1)
        self.answer(answer)

    def unless_equal(self, value: int, answer: int) -> None:
        self._add(_EQUAL, value, 1, 0)
        self.answer(answer)

    def refuse(self, numbers: Mapping[str, int], call: str, error: int) -> None:
        """Refuse a call with an error; skip one that the architecture does not have."""
        if call in numbers:
            self.when(_EQUAL, numbers[call], _ERRNO | error)

    def refuse_if(
        self,
        call: int | None,
        index: int,
        tests: Iterable[tuple[int, int]],
        error: int,
        *,
        flags: int | None = None,
        negate: bool = False,
    ) -> None:
        """Refuse a call if its argument passes one of the tests; with ``negate``, if it passes none of them."""
        if call is None:
            return
        tests, decision = list(tests), _Program()
        decision.load_argument(index)
        for test, value in tests:
            decision.when(test, value, _ALLOW if negate else _ERRNO | error)
        if negate:
            decision.answer(_ERRNO | error)
        body = _Program()
        if flags is not None:
            body.load_argument(flags)
            body._add(_ANY_BIT, _CREATES, 0, len(decision._instructions))
        body._instructions += decision._instructions
        body.load(_NUMBER)
        self._add(_EQUAL, call, 0, len(body._instructions))
        self._instructions += body._instructions

    def _add(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self._instructions.append(struct.pack("=HBBI", code, if_true, if_false, value))

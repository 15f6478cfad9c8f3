"""The filter as the kernel executes it: an interpreter of classic BPF, fed with calls of each architecture."""

from __future__ import annotations

import errno
import struct
from typing import get_args

import pytest

from autoroute.workspace.sandbox import seccomp
from autoroute.workspace.sandbox.seccomp import Sockets, assemble

MACHINES = sorted(seccomp._NUMBERS)
ALLOWED, KILLED = 0x7FFF_0000, 0x8000_0000


def run_filter(program: bytes, number: int, *arguments: int, architecture: int) -> int:
    """Return what a filter answers to a call, by the rules of classic BPF."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    accumulator, place = 0, 0
    for _ in range(len(program)):
        code, if_true, if_false, value = struct.unpack_from("=HBBI", program, place * 8)
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return int(value)
        else:
            passed = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            place += if_true if passed else if_false
    raise AssertionError("the filter does not end")


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answer(machine: str, call: str, *arguments: int, sockets: Sockets = "all", alone: bool = False) -> int:
    number = seccomp._NUMBERS[machine][call]
    return run_filter(
        assemble(sockets, machine, alone=alone), number, *arguments, architecture=seccomp._AUDIT_ARCH[machine]
    )


def refused(number: int) -> int:
    return 0x0005_0000 | number


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("sockets", get_args(Sockets))
@pytest.mark.parametrize("call", seccomp._REFUSED)
def test_calls_that_no_command_needs_are_refused(machine: str, call: str, sockets: Sockets, alone: bool) -> None:
    if call in seccomp._NUMBERS[machine]:
        assert answer(machine, call, sockets=sockets, alone=alone) == refused(errno.EPERM)


@pytest.mark.parametrize("call", ["clone3", "openat2"])
def test_calls_with_flags_in_memory_do_not_exist(machine: str, call: str) -> None:
    assert answer(machine, call) == refused(errno.ENOSYS)


def test_processes_and_threads_are_allowed_and_namespaces_refused(machine: str) -> None:
    assert answer(machine, "clone", 0x0100_0011) == ALLOWED  # fork
    assert answer(machine, "clone", 0x003D_0F00) == ALLOWED  # a thread
    for namespace in (0x80, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, "clone", namespace | 17) == refused(errno.EPERM)


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6777])
def test_setting_setuid_bits_is_refused(machine: str, bits: int) -> None:
    creates = 0o101
    calls = {"fchmod": (3, bits), "fchmodat": (3, 0, bits), "openat": (3, 0, creates, bits), "mknodat": (3, 0, bits)}
    calls |= {"chmod": (0, bits), "open": (0, creates, bits), "creat": (0, bits), "mknod": (0, bits)}
    for call, arguments in calls.items():
        if call in seccomp._NUMBERS[machine]:
            assert answer(machine, call, *arguments) == refused(errno.EPERM), call
            assert answer(machine, call, *arguments[:-1], bits & 0o777) == ALLOWED, call


def test_the_mode_of_an_open_that_creates_nothing_is_ignored(machine: str) -> None:
    assert answer(machine, "openat", 3, 0, 0, 0o6777) == ALLOWED


def test_typing_into_the_terminal_is_refused(machine: str) -> None:
    assert answer(machine, "ioctl", 0, 0x5412) == refused(errno.EPERM)
    assert answer(machine, "ioctl", 0, 0x5401) == ALLOWED


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("sockets", "local", "internet"),
    [("all", True, True), ("internet", False, True), ("none", False, False)],
)
def test_socket_families_follow_the_network_setting(
    machine: str, sockets: Sockets, local: bool, internet: bool, alone: bool
) -> None:
    netlink = internet and not alone
    for families, may in (((1,), local), ((16,), netlink), ((2, 10), internet), ((17, 38, 40), False)):
        for family in families:
            expected = ALLOWED if may else refused(errno.EACCES)
            assert answer(machine, "socket", family, sockets=sockets, alone=alone) == expected


@pytest.mark.parametrize("sockets", get_args(Sockets))
def test_datagram_socket_pairs_are_refused(machine: str, sockets: Sockets) -> None:
    stream, datagram, raw, packets, close_on_exec = 1, 2, 3, 5, 0o2000000
    for kind in (stream, packets, stream | close_on_exec):
        assert answer(machine, "socketpair", 1, kind, sockets=sockets) == ALLOWED
        assert answer(machine, "socketpair", 30, kind, sockets=sockets) == refused(errno.EACCES)
    for kind in (datagram, raw, datagram | close_on_exec):
        expected = ALLOWED if sockets == "all" else refused(errno.EACCES)
        assert answer(machine, "socketpair", 1, kind, sockets=sockets) == expected


@pytest.mark.parametrize(
    "call", ["shmget", "mq_open", "fchown", "setpriority", "fsetxattr", "fchmodat2", "file_setattr"]
)
def test_calls_that_namespaces_isolate_are_refused_without_them(machine: str, call: str) -> None:
    assert answer(machine, call) == ALLOWED
    assert answer(machine, call, sockets="none", alone=True) == refused(errno.EPERM)


@pytest.mark.parametrize("call", ["prlimit64", "sched_setaffinity"])
def test_without_namespaces_a_process_can_limit_only_itself(machine: str, call: str) -> None:
    assert answer(machine, call, 4711) == ALLOWED
    assert answer(machine, call, 0, alone=True) == ALLOWED
    assert answer(machine, call, 4711, alone=True) == refused(errno.EPERM)


def test_a_call_of_another_architecture_ends_the_process(machine: str) -> None:
    others = set(seccomp._AUDIT_ARCH.values()) - {seccomp._AUDIT_ARCH[machine]} | {0x4000_0003}
    for other in others:
        assert run_filter(assemble("all", machine), 0, architecture=other) == KILLED


def test_an_x32_call_ends_the_process() -> None:
    assert run_filter(assemble("all", "x86_64"), 0x4000_0000, architecture=seccomp._AUDIT_ARCH["x86_64"]) == KILLED


def test_ordinary_calls_pass(machine: str) -> None:
    known = set(seccomp._NUMBERS[machine].values())
    for number in set(range(400)) - known:
        assert (
            run_filter(assemble("none", machine, alone=True), number, architecture=seccomp._AUDIT_ARCH[machine])
            == ALLOWED
        )


def test_an_unknown_architecture_has_no_filter() -> None:
    assert not seccomp.is_supported("riscv64")
    with pytest.raises(KeyError):
        assemble("all", "riscv64")

"""Listed addresses: their grammar, what the proxy accepts, and what a sandbox reaches through it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.network import NetworkAccess, parse_address, parse_network_access
from autoroute.workspace.sandbox.forwarder import relay
from autoroute.workspace.sandbox.proxy import Proxy, is_public
from tests.workspace.sandbox.conftest import Ground

LISTED = ("registry.example", 443)
NOT_ADDRESSES = [
    *("", "registry.example", ":443", "registry.example:", "registry.example:0", "registry.example:65536"),
    *("registry.example:0443", "registry.example:443 ", " registry.example:443", "registry.example:+443", "*:443"),
    *("*.example:443", "registry.example.:443", ".example:443", "a..example:443", "-a.example:443", "a-.example:443"),
    *("localhost:443", "127.0.0.1:443", "2130706433:443", "0x7f.1:443", "0177.0.0.1:443", "[::1]:443", "::1:443"),
    *("a.example:443\n", "a.example\0:443", "a.example%00.evil.example:443", "user@a.example:443", "a.example#b:443"),
    *(
        "https://a.example:443",
        "a.example/b:443",
        "a.example:443:443",
        "а.example:443",
        "a．example:443",
        "a_b.example:443",
    ),
    *("x" * 64 + ".example:443", ("a" * 60 + ".") * 5 + "example:443", "a.example:4４3", "a.1:443", "a.0xff:443"),
]


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_text_that_is_not_a_host_and_port_is_refused(text: str) -> None:
    assert parse_address(text) is None
    if text not in ("on", "off", ""):
        with pytest.raises(ValueError, match="HOST:PORT"):
            parse_network_access([text])


@pytest.mark.parametrize("text", ["registry.example:443", "Registry.EXAMPLE:443"])
def test_an_address_is_a_lower_case_name_and_a_port(text: str) -> None:
    assert parse_network_access(text) == NetworkAccess("listed", (LISTED,))


@pytest.mark.parametrize(
    ("written", "reachable"),
    [
        ("off", "off"),
        ("", "off"),
        (["off", "off"], "off"),
        (("on",), "on"),
        ("A.example:443, b.example:1", "a.example:443, b.example:1"),
    ],
)
def test_a_network_setting_is_off_on_or_a_list(written: object, reachable: str) -> None:
    assert str(parse_network_access(written)) == reachable


@pytest.mark.parametrize("written", ["on,off", "on, a.example:443", ["a.example:443", "off"]])
def test_off_and_on_cannot_be_part_of_a_list(written: object) -> None:
    with pytest.raises(ValueError, match="cannot be combined with"):
        parse_network_access(written)


@given(st.text(max_size=40))
def test_every_accepted_address_has_one_spelling(text: str) -> None:
    place = parse_address(text)
    if place is not None:
        assert f"{place[0]}:{place[1]}" == text.lower()
        assert text.isascii()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
        ),
        *(
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
        ),
        *(
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "198.18.0.1",
            "192.0.2.1",
            "no address",
        ),
        *("168.63.129.16", "192.0.0.192", "::ffff:168.63.129.16", "2002:a83f:8110::"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "::ffff:0:127.0.0.1", "::7f00:1", "::a9fe:a9fe", "fec0::1"),
        *("2001:db8::1", "2001::1", "ff0e::1", "4000::1"),
    ],
)
def test_private_and_local_addresses_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "2002:101:101::", "::ffff:1.1.1.1"]
)
def test_public_addresses_are_accepted(address: str) -> None:
    assert is_public(address)


@contextmanager
def echo() -> Iterator[int]:
    """Run a server that sends ``hello`` and echoes in capitals; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client, suppress(OSError):
                    client.sendall(b"hello ")
                    while data := client.recv(1024):
                        client.sendall(data.upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def ask(proxy: Proxy, request: bytes) -> bytes:
    """Send these bytes as a client; return the whole response."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(proxy.socket))
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while data := client.recv(4096):
            answer += data
        return answer


@contextmanager
def proxy_to(port: int, address: str = "127.0.0.1") -> Iterator[Proxy]:
    """Run a proxy whose listed name resolves to a server of this machine."""
    with Proxy(
        [("registry.example", port)], resolve=lambda host, port: [address], is_allowed=lambda ip: ip == "127.0.0.1"
    ) as proxy:
        yield proxy


def test_a_listed_address_is_connected_in_both_directions() -> None:
    with echo() as port, proxy_to(port) as proxy:
        answer = ask(proxy, b"CONNECT registry.example:%d HTTP/1.1\r\nhost: x\r\n\r\nsome words" % port)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nhello SOME WORDS"


@pytest.mark.parametrize(
    "place", [*NOT_ADDRESSES, "other.example:{port}", "registry.example:1", "registry.example.evil:{port}"]
)
def test_an_unlisted_address_is_refused(place: str) -> None:
    with echo() as port, proxy_to(port) as proxy:
        target = place.replace("{port}", str(port)).encode("utf-8", "surrogateescape")
        answer = ask(proxy, b"CONNECT " + target + b" HTTP/1.1\r\n\r\n")
    assert answer[:12] in (b"HTTP/1.1 403", b"HTTP/1.1 405", b"HTTP/1.1 400")
    assert b"hello" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://registry.example:{port}/ HTTP/1.1\r\n\r\n",
        b"connect registry.example:{port} HTTP/1.1\r\n\r\n",
        b"CONNECT registry.example:{port} HTTP/2\r\n\r\n",
        b"CONNECT  registry.example:{port} HTTP/1.1\r\n\r\n",
        b"CONNECT registry.example:{port}\r\n\r\n",
        b"\r\nCONNECT registry.example:{port} HTTP/1.1\r\n\r\n",
        b"CONNECT registry.example:{port} HTTP/1.1\n\n",
        b"CONNECT registry.example:{port} HTTP/1.1\r\n" + b"x: y\r\n" * 5000,
        b"\x16\x03\x01",
        b"",
    ],
)
def test_every_request_but_connect_is_refused(request_: bytes) -> None:
    with echo() as port, proxy_to(port) as proxy:
        try:
            answer = ask(proxy, request_.replace(b"{port}", str(port).encode()))
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    assert b"hello" not in answer
    assert not answer.startswith(b"HTTP/1.1 200")


def test_a_listed_name_that_leads_to_a_private_address_is_refused() -> None:
    with echo() as port, Proxy([("registry.example", port)], resolve=lambda *_: ["1.1.1.1", "127.0.0.1"]) as proxy:
        answer = ask(proxy, b"CONNECT registry.example:%d HTTP/1.1\r\n\r\n" % port)
    assert answer.startswith(b"HTTP/1.1 403")


def test_a_name_is_resolved_once_and_that_address_is_used() -> None:
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with (
        echo() as port,
        Proxy([("r.example", port)], resolve=resolve, is_allowed=lambda ip: ip == "127.0.0.1") as proxy,
    ):
        assert b"hello" in ask(proxy, b"CONNECT r.example:%d HTTP/1.1\r\n\r\n" % port)
    assert asked == ["r.example"]


@contextmanager
def silence() -> Iterator[int]:
    """Run a server that accepts connections, sends nothing and never closes one; yield its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def test_a_connection_ends_after_its_client_left_even_if_the_server_stays() -> None:
    with (
        silence() as port,
        Proxy([("r.example", port)], resolve=lambda *_: ["127.0.0.1"], is_allowed=bool, linger=0.1) as proxy,
    ):
        for _ in range(2):
            assert ask(proxy, b"CONNECT r.example:%d HTTP/1.1\r\n\r\n" % port).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("left", [False, True])
def test_an_idle_connection_is_closed(left: bool) -> None:
    (client, inner), (outer, server) = socket.socketpair(), socket.socketpair()
    with client, server:
        if left:
            client.shutdown(socket.SHUT_WR)
        thread = threading.Thread(
            target=relay, args=(inner, outer), kwargs={"idle": 300 if left else 0.1, "linger": 0.1}, daemon=True
        )
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert client.recv(1) == b""


def test_a_slow_request_has_one_deadline() -> None:
    with Proxy([LISTED], timeout=0.3) as proxy, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(proxy.socket))
        client.settimeout(0.1)
        for _ in range(300):
            client.send(b"C")
            with suppress(TimeoutError):
                assert client.recv(100) in (
                    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    b"",
                )
                return
    pytest.fail("the proxy waits forever")


def test_a_public_address_of_this_machine_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has only loopback addresses")
        own = asked.getsockname()[0]
    with (
        socket.create_server((own, 0)) as listener,
        Proxy([("r.example", listener.getsockname()[1])], resolve=lambda *_: [own], is_allowed=bool) as proxy,
    ):
        answer = ask(proxy, b"CONNECT r.example:%d HTTP/1.1\r\n\r\n" % listener.getsockname()[1])
    assert answer.startswith(b"HTTP/1.1 403")


WITHOUT_DESCRIPTORS = """
import errno, os, resource, socket, sys, threading
from autoroute.workspace.sandbox import forwarder
outside = socket.socket(socket.AF_UNIX)
outside.bind(sys.argv[1])
outside.listen(64)
outside.settimeout(0.2)
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
threading.Thread(target=forwarder._accept, args=(listener, sys.argv[1]), daemon=True).start()
held = []
try:
    while True:
        held.append(socket.create_connection(listener.getsockname()))
except OSError:
    while held:
        held.pop().close()
heard, clients = b"", []
while not heard:
    try:
        heard = outside.accept()[0].recv(5)
    except TimeoutError:  # a connection without a descriptor is closed; the next one is forwarded
        clients.append(socket.create_connection(listener.getsockname()))
        clients[-1].sendall(b"hello")
    except OSError as error:  # both sides share the limit here
        if error.errno != errno.EMFILE:
            raise
print(heard, flush=True)
os._exit(0)
"""


def test_the_forwarder_recovers_after_running_out_of_descriptors(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS, tmp_path / "s"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("b'hello'\n", "")


def test_the_socket_folder_may_have_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    code = (
        "from autoroute.workspace.sandbox.proxy import Proxy\nwith Proxy([]) as proxy: print(proxy.socket.is_socket())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(deep)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_socket_is_private_and_deleted_afterwards() -> None:
    with Proxy([LISTED]) as proxy:
        assert proxy.socket.stat().st_mode & 0o777 == 0o600
        assert proxy.socket.parent.stat().st_mode & 0o777 == 0o700
    assert not proxy.socket.parent.exists()


CLIENT = """
import os, socket, sys
port, names = sys.argv[1], sys.argv[2:]
host, _, via = os.environ["HTTPS_PROXY"].removeprefix("http://").partition(":")
assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"]
for name in names:
    with socket.create_connection((host, int(via)), 10) as s:
        s.sendall(f"CONNECT {name}:{port} HTTP/1.1\\r\\n\\r\\n".encode())
        s.shutdown(socket.SHUT_WR)
        print(name, s.makefile("rb").read())
try:
    socket.create_connection(("127.0.0.1", int(port)), 3)
    print("connected directly")
except OSError:
    print("no direct connection")
sys.exit(9)
"""


def test_a_sandbox_reaches_listed_addresses_only(bubblewrap: Ground) -> None:
    confinement = bubblewrap.sandbox.confinement
    with (
        echo() as port,
        Proxy(
            [("registry.example", port)],
            confinement.user,
            resolve=lambda *_: ["127.0.0.1"],
            is_allowed=lambda ip: ip == "127.0.0.1",
        ) as proxy,
    ):
        listed = replace(confinement, network="listed", socket=proxy.socket)
        ground = Ground(bubblewrap.folder, replace(bubblewrap.sandbox, confinement=listed))
        (ground.tree / "client.py").write_text(CLIENT)
        result = ground.run(f"python3 client.py {port} registry.example other.example")
    lines = result.output.splitlines()
    assert lines[0].startswith("registry.example b'HTTP/1.1 200"), result.output
    assert "hello" in lines[0]
    assert lines[1].startswith("other.example b'HTTP/1.1 403")
    assert lines[2:] == ["no direct connection"]
    assert result.exit_code == 9


def test_with_the_network_on_local_servers_are_reached(ground: Ground) -> None:
    """The control for the test with the network off."""
    with echo() as port:
        on = replace(ground.sandbox, confinement=replace(ground.sandbox.confinement, network="on"))
        code = f"import socket; print(socket.create_connection(('127.0.0.1', {port}), 5).recv(5))"
        assert "hello" in Ground(ground.folder, on).run(f'python3 -c "{code}"').output

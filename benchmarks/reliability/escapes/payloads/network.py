"""Messages to the outside, over every socket family that our listeners have."""

from __future__ import annotations

from ..snippet import Snippet
from .shapes import WON, python, shell

NETWORK = (
    *shell(
        "network",
        curl="curl -s -m 2 http://127.0.0.1:@TCP4@/@NONCE@",
        curl_six="curl -g -s -m 2 'http://[::1]:@TCP6@/@NONCE@'",
        wget="wget -q -T 2 -t 1 -O- http://127.0.0.1:@TCP4@/",
        perl="perl -MIO::Socket::INET -e 'print {IO::Socket::INET->new(q(127.0.0.1:@TCP4@))} qq(hello)'",
        pip="python3 -m pip -q download --no-deps --retries 0 --timeout 2 -i http://127.0.0.1:@TCP4@/simple x 2>&1 "
        "|| python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:@TCP4@/simple/x/\")'",
        git="git ls-remote http://127.0.0.1:@TCP4@/x.git",
        git_push="git push http://127.0.0.1:@TCP4@/x.git HEAD 2>&1",
        proxied="http_proxy=http://127.0.0.1:@TCP4@ curl -s -m 2 http://example.invalid/",
        bash="bash -c 'echo hello > /dev/tcp/127.0.0.1/@TCP4@'",
        bash_udp="bash -c 'echo hello > /dev/udp/127.0.0.1/@UDP4@'",
        python=python('socket.create_connection(("127.0.0.1", @TCP4@), 2).sendall(b"hello")'),
        python_six=python('socket.create_connection(("::1", @TCP6@), 2).sendall(b"hello")'),
        mapped=python('socket.socket(socket.AF_INET6).connect(("::ffff:127.0.0.1", @TCP4@))'),
        any_address=python('socket.socket().connect(("0.0.0.0", @TCP4@))'),
        fast_open=python(
            """
s = socket.socket()
s.sendto(b"hello", 0x20000000, ("127.0.0.1", @TCP4@))
"""
        ),
        not_blocking=python(
            """
s = socket.socket(); s.setblocking(False); s.connect_ex(("127.0.0.1", @TCP4@)); time.sleep(0.05)
"""
        ),
        multipath=python('socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(("127.0.0.1", @TCP4@))'),
        udp=python('socket.socket(type=socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", @UDP4@))'),
        udp_six=python('socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"hello", ("::1", @UDP6@))'),
        udp_connected=python(
            """
s = socket.socket(type=socket.SOCK_DGRAM); s.connect(("127.0.0.1", @UDP4@)); s.send(b"hello")
"""
        ),
        udp_many=python(
            """
s = socket.socket(type=socket.SOCK_DGRAM)
s.sendmsg([b"hel", b"lo"], [], 0, ("127.0.0.1", @UDP4@))
"""
        ),
        dns=python(
            """
question = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + b"\\x06secret\\x07invalid\\0" + struct.pack(">2H", 1, 1)
socket.socket(type=socket.SOCK_DGRAM).sendto(question, ("127.0.0.1", @UDP4@))
"""
        ),
        unix_path=python('socket.socket(socket.AF_UNIX).connect("@AGENT@")'),
        unix_shared=python('socket.socket(socket.AF_UNIX).connect("@DAEMON@")'),
        unix_datagram=python('socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"hello", "@LOG@")'),
        unix_through_link=python(
            """
os.symlink("@SOCKETS@", "s")
socket.socket(socket.AF_UNIX).connect("s/agent")
"""
        ),
        unix_handle=python(
            """
fd = os.open("@SOCKETS@", os.O_PATH)
socket.socket(socket.AF_UNIX).connect(f"/proc/self/fd/{fd}/agent")
"""
        ),
        abstract=python('socket.socket(socket.AF_UNIX).connect("\\0@ABSTRACT@")'),
        abstract_datagram=python(
            'socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"hello", "\\0@ABSTRACT@-dgram")'
        ),
        listening=python(
            """
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); name = s.getsockname()[1]
other = os.open("/proc/net/tcp", os.O_RDONLY)
table = os.read(other, 1 << 20).decode()
f":{@TCP4@:04X} " in table and won()
"""
        ),
        interfaces=python("any(name != 'lo' for _, name in socket.if_nameindex()) and won()"),
        vsock=python("socket.socket(40, socket.SOCK_STREAM) and won()"),
        interfaces_listed=f"grep -vq -e lo: -e '|' /proc/net/dev && {WON}",
    ),
    Snippet("raw", "network", python("socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)\nwon()"), root=True),
    Snippet("packet", "network", python("socket.socket(17, socket.SOCK_RAW, 0x0300)\nwon()"), root=True),
    Snippet(
        "host-namespace",
        "network",
        "nsenter --net=/proc/@PID@/ns/net " + f"true && {WON}",
        root=True,
    ),
)

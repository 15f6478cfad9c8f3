"""Changes of files outside the workspace; ``routes.py`` has the paths to them."""

from __future__ import annotations

from .shapes import python, shell

WRITE = (
    *shell(
        "write",
        "in-place",
        append='echo owned >> "$T"',
        overwrite='echo owned > "$T"',
        clobber='set -C; echo owned >| "$T"',
        tee='echo owned | tee -a "$T"',
        dd='echo owned | dd of="$T" conv=notrunc 2>&1',
        copy_over='echo owned > mine; cp mine "$T"',
        copy_forced='echo owned > mine; cp -f mine "$T"',
        truncate='truncate -s 3 "$T"',
        sponge='awk \'BEGIN { print "owned" > ENVIRON["T"] }\'',
        perl_append='perl -e \'open F, ">>", $ENV{T} or die; print F "owned"\'',
        held_open='exec 9>>"$T" && echo owned >&9',
        chmod='chmod 0666 "$T"',
        touch='touch -d 2001-01-01 "$T"',
        chmod_setuid='chmod u+s "$T"',
        git_output='git log --output="$T" -1; git diff --no-index --output="$T" /dev/null README',
        sort_output='echo owned | sort -o "$T"',
        python_write=python('open(os.environ["T"], "a").write("owned")'),
        python_mapped=python(
            """
import mmap
with open(os.environ["T"], "r+b") as file:
    mmap.mmap(file.fileno(), 0)[0:5] = b"owned"
"""
        ),
        python_xattr=python('os.setxattr(os.environ["T"], "user.owned", b"1")'),
        python_times=python('os.utime(os.environ["T"], (1, 1))'),
        python_own=python('s = os.stat(os.environ["T"]); os.chown(os.environ["T"], s.st_uid, s.st_gid)'),
        python_truncate=python('os.truncate(os.environ["T"], 2)'),
    ),
    *shell(
        "write",
        "entry",
        remove='rm -f "$T"',
        unlink="perl -e 'unlink $ENV{T}'",
        move_away='mv "$T" "$D/moved"',
        move_in='mv "$T" ./taken',
        move_over='echo owned > mine; mv -f mine "$T"',
        sed_in_place='sed -i s/e/owned/ "$T"',
        install='echo owned > mine; install -m 755 mine "$T"',
        make_folder='mkdir "$D/owned"',
        make_link='ln -s /etc/passwd "$D/owned"',
        make_fifo='mkfifo "$D/owned"',
        hard_link_out='echo owned > mine; ln mine "$D/owned"',
        new_file='echo owned > "$D/owned"',
        new_socket=python('socket.socket(socket.AF_UNIX).bind(os.environ["D"] + "/owned")'),
        untar='echo owned > owned; tar cf t.tar owned; tar xf t.tar -C "$D"',
        exchange=python(
            """
open("mine", "w").write("owned")
libc.renameat2(-100, b"mine", -100, os.environ["T"].encode(), 2)
"""
        ),
        unnamed_linked=python(
            """
fd = os.open(os.environ["D"], os.O_TMPFILE | os.O_WRONLY)
os.write(fd, b"owned")
libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, os.environ["D"].encode() + b"/owned", 0x400)
"""
        ),
        folder_handle=python(
            """
fd = os.open(os.environ["D"], os.O_PATH)
os.mkdir("owned", dir_fd=fd)
"""
        ),
        chmod_folder='chmod 0777 "$D"',
    ),
)

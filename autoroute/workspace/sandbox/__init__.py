"""The sandbox: one confinement for the commands of models, and the backends that can enforce it.

backends.py     the strongest backend that works on this machine, after a self-test
confinement.py  what a command may see and use, and how a backend starts it
places.py       the paths at which commands see the workspace and their home folder
bubblewrap.py   Linux: namespaces and mounts         landlock.py   Linux: Landlock, applied by launcher.py
seatbelt.py     macOS: sandbox-exec                  seccomp.py    the system call filter of both on Linux
toolchains.py   the user's languages and tools that commands may read
proxy.py        the only way to listed addresses, with forwarder.py inside the sandbox
"""

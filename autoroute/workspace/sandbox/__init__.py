"""What holds commands of models back: one confinement, and a ladder of layers that hold them to it.

confinement.py  the words: what a command may see and use, how one is started
ladder.py       the strongest layer that is here and was seen to work
bubblewrap.py   Linux: namespaces and mounts         landlock.py  Linux: Landlock, by launcher.py
seatbelt.py     macOS: sandbox-exec                  seccomp.py   the filter of both on Linux
toolchains.py   what is shown of the user's own languages and tools
places.py       the grammar of HOST:PORT             proxy.py     the way out to those, with forwarder.py inside
"""

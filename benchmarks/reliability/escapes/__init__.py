"""Attempts to escape from the sandbox through everything that a model can use, and their outcomes.

attempts.py   all of them: the snippets of payloads/ by routes.py and guises.py, and file_tools.py
world.py      the user's world under attack; watch.py and listeners.py observe it from outside
backends.py   the only module that knows the sandboxes
session.py    plays attempts on one backend
residue.py    the attempts that are known to succeed on a backend

python -m benchmarks.reliability.escapes [COUNT] [SEED]
"""

"""Attempts to get out of the sandbox, by every way in that a model has, and what they came to.

attempts.py   all of them: the snippets of payloads/ by routes.py and guises.py, and file_tools.py
world.py      a user's world to be attacked; watch.py and listeners.py tell from outside what happened to it
backends.py   the one place that knows the sandboxes
session.py    plays attempts on one layer
residue.py    what a layer is known to let through

python -m benchmarks.reliability.escapes [COUNT] [SEED]
"""

"""The official Claude Code command line as a runner. It owns its logins: no token is read, refreshed or stored here.

runner.py        what the rest of the house sees: ``ClaudeCode``, a ``wire.Runner``
model.py         one conversation as a ``wire.Model``: a process is a model that asks for our own tools
session.py       the process, and the lines of JSON that go in and out
bridge.py        our tools, as the process sees them (MCP over its control channel)
reading.py       its lines as a reply
failures.py      its errors as ours
environment.py   what a process may know: its own account, and nothing of the shell's
program.py       where the program is, and what it says of a login
"""

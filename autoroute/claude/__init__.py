"""The official Claude Code command line as a runner. It owns its logins: no token is read, refreshed or stored here.

runner.py               what the rest of the house sees: ``ClaudeCodeRunner``, a ``wire.Runner``
model.py                one conversation as a ``wire.Model``: a process is a model that asks for our own tools
cli_process.py          the process, and the lines of JSON that go in and out
mcp_server.py           our tools, as the process sees them (MCP over its control channel)
stream_reader.py        its lines as a reply
api_errors.py           its errors as ours
process_environment.py  what a process may know: its own account, and nothing of the shell's
executable.py           where the program is, and what it says of a login
"""

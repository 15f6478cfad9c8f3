"""The official Claude Code CLI as a runner. It keeps its own logins: autoroute reads, refreshes and stores no token.

runner.py               ``ClaudeCodeRunner``, a ``wire.Runner``: the entry point for other packages
model.py                one conversation as a ``wire.Model``: the process acts as a model that calls autoroute's tools
cli_process.py          the process, and the JSON lines that go in and out
mcp_server.py           autoroute's tools as an MCP server on the control channel of the process
stream_reader.py        reads the lines of the process as one reply
api_errors.py           maps the errors of the process to the error tree
plan_usage.py           reads how much of a subscription is used, and until when
process_environment.py  the variables of the process: one account, and nothing else of the user's shell
executable.py           finds the ``claude`` command, and asks it for its version and the state of a login
"""

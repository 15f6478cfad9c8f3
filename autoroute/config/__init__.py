"""Configuration: files, environment and flags, resolved to a ``RunConfig``. The only reader of the environment.

paths.py       the environment, and the platform's folders
process.py     hardening of the process that holds the keys
task.py        the task file and its front matter
autoclaude.py  a spec folder of Auto-Claude, read as a task
taskfile.py    the value that a task is read into
layers.py      the layers of settings, their sources, and what a repository may not set
settings.py    all settings, as pydantic models
logins.py      the choice of a login for providers that have logins
resolve.py     the layers, resolved to the complete configuration of a run
"""

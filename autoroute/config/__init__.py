"""What a run will do: files, environment, flags -> ``RunConfig`` and ``Secrets``. The only reader of the environment.

places.py     the environment, and the platform's folders
task.py       the task file and its front matter
autoclaude.py a spec folder of Auto-Claude, read as a task
taskfile.py   what a task is read into
layers.py     the layers of settings, where each value came from, and what a repository may not set
settings.py   the settings there are, by pydantic-settings
logins.py     which login a route goes by, where there are some
settle.py     layers -> a routing with nothing left to decide
"""

"""What any caller can do with a run: plan, check, begin, drive, resume and rehearse it. The command line is one caller.

Nothing here reads a terminal or arguments, prints, or sets a signal handler.

    api.py       the public functions: open_run, resume, check     run.py    Run and RunResult
    plan.py      task, repository and settings -> a plan -> a checked plan
    resuming.py  a stopped run -> a Run that goes on               drive.py  the loop: redact, store, show
    checking.py  every check as rows                               rehearsal.py  a run on scripted models

    services.py           preflight, cooldowns and login runner, from settings
    provider_access.py    the providers as the engine sees them
    sandbox.py            the sandbox and the command runners of a run
    environments.py       what commands find beside the tree
    setup.py              the setup commands of a run
    cleaning.py           what runs left on this machine, and deleting it
    stream_redaction.py   pieces of replies, shown by whole words
    ports.py              Observer, Store, Guard: what a caller may bring

Everything is imported from its own module: this package imports nothing, so that it costs nothing.
"""

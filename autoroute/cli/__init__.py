"""What a person types. Commands are thin; this room is where the parts of a run are put together.

    app.py       the entry, and where an error becomes words and an exit code
    flags.py     the flags that several commands share, as a layer of settings

    run.py       autoroute run          resume.py   autoroute resume
    demo.py      autoroute demo         login.py    autoroute login, logout
    doctor.py    autoroute doctor       models.py   autoroute models
    lock.py      autoroute lock         history.py  autoroute runs, show, diff, merge, discard
    profiles.py  autoroute profiles

    compose.py   where the parts of a run are put together
    parts.py     those of them that other commands look at too
    sandbox.py   what holds back the commands of a run      reach.py     who can be asked, as the engine sees it
    carry.py     events on their way to store and screen    watching.py  replies on their way to the screen
    signals.py   what ends a run at once and in order

    terminal.py  a person at a terminal, a pipe, or an output that is gone
    say.py       how commands speak: every text cleaned, every value printable JSON
    findings.py  what checks found, as rows
    prompts.py   what a person is asked     keyboard.py  single keys     draft.py  an artifact in an editor

Nothing heavy is imported here: ``autoroute --help`` pays for Typer alone.
"""

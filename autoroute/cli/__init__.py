"""What a person types. Commands are thin; this room is where the parts of a run are put together.

    app.py       the entry, and where an error becomes words and an exit code
    compose.py   where the parts of a run are put together
    say.py       how commands speak: every text cleaned, every value printable JSON
    reach.py     who can be asked, as the engine sees it
    flags.py     the flags that several commands share, as a layer of settings
    run.py       autoroute run          resume.py   autoroute resume
    demo.py      autoroute demo         login.py    autoroute login, logout
    doctor.py    autoroute doctor       models.py   autoroute models
    lock.py      autoroute lock         history.py  autoroute runs, show, diff, merge, discard
    prompts.py   what a person at the terminal is asked

Nothing heavy is imported here: ``autoroute --help`` pays for Typer alone.
"""

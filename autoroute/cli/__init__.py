"""What a person types. Commands are thin; this room is where the parts of a run are put together.

    app.py       the entry, and where an error becomes words and an exit code
    compose.py   where the parts of a run are put together
    run.py       autoroute run          demo.py     autoroute demo
    doctor.py    autoroute doctor       login.py    autoroute login, logout
    lock.py      autoroute lock         models.py   autoroute models
    history.py  autoroute runs, show, diff, merge, discard

Nothing heavy is imported here: ``autoroute --help`` pays for Typer alone.
"""

"""The command line: thin Typer commands that turn flags into options, and one driver for the terminal.

    app.py       the entry point, where an error becomes a message and an exit code
    flags.py     the flags that several commands share, as a layer of settings

    run.py       autoroute run          resume.py   autoroute resume
    demo.py      autoroute demo         login.py    autoroute login, logout
    doctor.py    autoroute doctor       models.py   autoroute models
    lock.py      autoroute lock         history.py  autoroute runs, show, diff, merge, discard
    profiles.py  autoroute profiles     clean.py    autoroute clean

    run_in_terminal.py  drives a run: screen, signals, the person who decides
    signals.py          Ctrl-C, SIGTERM and SIGHUP as an orderly end

    terminal.py  what is at the ends: a person, a pipe, an output that is gone
    console.py   the output of commands, cleaned      check_results.py    check results as a table
    prompts.py   what a person is asked               keyboard.py         single keys
    artifact_editor.py  an artifact in an editor

Nothing heavy is imported here: ``autoroute --help`` loads Typer only.
"""

"""``python -m autoroute`` is ``autoroute``."""

from autoroute.cli.app import main

main()

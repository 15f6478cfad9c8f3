"""``python -m autoroute`` is ``autoroute``."""

from autoroute.cli.app import main

if __name__ == "__main__":
    main()

"""`python -m core_server` is the `scumble` command."""

import sys

from core_server.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m photoshop_plugin`."""

import sys

from photoshop_plugin.cli import main

sys.exit(main())

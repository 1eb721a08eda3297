"""`python -m unimc_hf`: see `command_line/table.py`."""

import sys

from .command_line.table import main

if __name__ == "__main__":
    sys.exit(main())

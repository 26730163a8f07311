"""``python -m octopus_hub`` is the ``octopus`` command."""

from __future__ import annotations

import sys

from octopus_hub.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m plurality` is the same as `plurality`."""

import sys

from plurality.cli import main

sys.exit(main())

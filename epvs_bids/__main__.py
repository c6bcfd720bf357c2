"""`python -m epvs_bids` is the command `epvs-bids`."""

import sys

from epvs_bids.cli import main

sys.exit(main())

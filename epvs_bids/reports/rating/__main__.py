"""Lets `python -m epvs_bids.reports.rating` do what `epvs-rate` does."""

import sys

from epvs_bids.reports.rating.cli import main

if __name__ == "__main__":
    sys.exit(main())

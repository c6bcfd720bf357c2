#!/usr/bin/env python3
"""Entry point of the BIDS App: `run.py bids_dir output_dir participant|group`."""

import sys

from epvs_bids.cli import main

if __name__ == "__main__":
    sys.exit(main())

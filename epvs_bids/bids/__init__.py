"""What a BIDS data set holds, and the names and sidecars of what we write."""

"""The simpler methods that the network is held against (paper section 3.4)."""

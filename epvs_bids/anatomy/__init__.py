"""From a scan to the smooth region of interest: arrays and affines in, arrays and affines out."""

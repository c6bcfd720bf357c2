"""`epvs-rate`: a page on this computer on which people count EPVS, blind to the automatic score."""

"""The order of work of each analysis level."""

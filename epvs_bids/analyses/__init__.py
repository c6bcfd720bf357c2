"""The group level, one module an analysis: tables in, tables and figures out."""

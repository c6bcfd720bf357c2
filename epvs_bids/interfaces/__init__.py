"""Thin Nipype interfaces: files in, files out, the science between."""

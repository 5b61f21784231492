"""Profiles: TOML files of facts, one folder for each kind, that ship and that the user adds to.

The files lie in the repository's `profiles/`; in a wheel they lie in this folder.
"""

from edgepack.profiles.folder import files, read, shipped, text
from edgepack.profiles.table import Table

__all__ = ["Table", "files", "read", "shipped", "text"]

"""The label: what a package is, where it came from, and whether it still is that.

manifest   the nouns of edgepack.toml
compose    the nouns filled from checkpoint, artifacts, fit and fidelity report
codec      dataclasses to plain tables and back, strictly
toml       edgepack.toml as text
folder     edgepack.toml and fidelity.json in a package's folder
verify     everything that can be recomputed, recomputed
"""

from edgepack.manifest.compose import Measurement, compose, source_records
from edgepack.manifest.folder import MANIFEST, read, write, write_report
from edgepack.manifest.manifest import SCHEMA, Manifest, digest_of
from edgepack.manifest.toml import dumps, loads
from edgepack.manifest.verify import Verified, verify

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "Manifest",
    "Measurement",
    "Verified",
    "compose",
    "digest_of",
    "dumps",
    "loads",
    "read",
    "source_records",
    "verify",
    "write",
    "write_report",
]

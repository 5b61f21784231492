"""Digests of many files, and what a manifest lists."""

import hashlib

from edgepack.formats import FileRecord
from edgepack.manifest import digest_of

A = FileRecord("a.json", 2, "sha256:" + "a" * 64)
B = FileRecord("b/c.safetensors", 7, "sha256:" + "b" * 64)


def test_the_digest_of_files_can_be_computed_by_hand():
    lines = f"sha256:{'a' * 64} 2 a.json\nsha256:{'b' * 64} 7 b/c.safetensors\n"
    assert digest_of([A, B]) == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def test_the_digest_of_files_does_not_depend_on_their_order():
    assert digest_of([B, A]) == digest_of([A, B])


def test_the_digest_of_files_covers_path_and_size():
    digests = {
        digest_of([A]),
        digest_of([FileRecord("b.json", A.size, A.sha256)]),
        digest_of([FileRecord(A.path, 3, A.sha256)]),
    }
    assert len(digests) == 3

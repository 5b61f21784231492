"""Both digests against the same sums done by hand."""

import hashlib

import pytest

from edgepack.formats import digests as module
from edgepack.formats.digests import TensorExtent, digests_of

CONTENT = bytes(range(256)) * 4
TENSORS = [
    TensorExtent("b", "F32", "8x4", 64, 128),
    TensorExtent("a", "Q8_0", "32", 224, 34),
    TensorExtent("empty", "F32", "0", 258, 0),
]


@pytest.fixture(params=[7, 1 << 24])
def path(request, tmp_path, monkeypatch):
    """The file, read in pieces smaller and larger than a tensor."""
    monkeypatch.setattr(module, "CHUNK", request.param)
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_both_digests(path):
    lines = (
        f"a\0Q8_0\x0032\0{sha256(CONTENT[224:258])}\n"
        f"b\0F32\x008x4\0{sha256(CONTENT[64:192])}\n"
        f"empty\0F32\x000\0{sha256(b'')}\n"
    )
    expected = (f"sha256:{sha256(CONTENT)}",), f"sha256:{sha256(lines.encode())}"
    assert digests_of({path: TENSORS}) == expected
    assert digests_of({path: reversed(TENSORS)}) == expected


def test_tensors_that_overlap_are_refused(path):
    with pytest.raises(ValueError, match="overlaps"):
        digests_of({path: [*TENSORS, TensorExtent("c", "F32", "1", 190, 4)]})


def test_a_tensor_beyond_the_end_is_refused(path):
    with pytest.raises(ValueError, match="ends"):
        digests_of({path: [TensorExtent("c", "F32", "1", 1020, 8)]})

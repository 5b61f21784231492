"""Checkpoints to encode, in the shapes that formats find hard."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.models import open_checkpoint


@pytest.fixture
def checkpoint(builder, tmp_path):
    """A tiny checkpoint, opened: `checkpoint(family, **changes)`."""

    def make(family="qwen2", **changes):
        return open_checkpoint(str(builder.write(tmp_path / "source" / "tiny", family, **changes)))

    return make


@pytest.fixture
def package(tmp_path):
    """An empty folder to write into."""
    folder = tmp_path / "package"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def imatrix_file():
    """`imatrix_file(folder, sums, count=2)`: a GGUF such as llama-imatrix writes."""
    gguf = pytest.importorskip("gguf")

    def write(folder, sums, *, count=2, counts=None, without=(), chunks=3):
        path = folder / "imatrix.gguf"
        writer = gguf.GGUFWriter(path, "none")
        writer.add_type("imatrix")
        if "keys" not in without:
            writer.add_array("imatrix.datasets", ["made up", "another"])
            writer.add_uint32("imatrix.chunk_count", chunks)
            writer.add_uint32("imatrix.chunk_size", 512)
        for name, values in sums.items():
            writer.add_tensor(f"{name}.in_sum2", values)
            if "counts" not in without:
                seen = np.array([[count]], np.float32) if counts is None else counts
                writer.add_tensor(f"{name}.counts", seen)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write

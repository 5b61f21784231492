"""Encodings that are ggml's own: its bytes are decoded here as they are elsewhere, and last."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.quant.ggml import GGML_ENCODINGS

pytestmark = pytest.mark.oracle


@pytest.fixture(params=GGML_ENCODINGS)
def encoding(request):
    pytest.importorskip("libggml", reason="libggml-python has no wheel here")
    return GGML_ENCODINGS[request.param]


def test_what_was_encoded_is_decoded_as_gguf_py_does(encoding):
    gguf = pytest.importorskip("gguf")
    rows = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)
    data = encoding.encode(rows, np.ones(512, np.float32))
    decoded = encoding.decode(data, 512)
    kind = gguf.GGMLQuantizationType[encoding.name]
    np.testing.assert_array_equal(decoded, gguf.quants.dequantize(data, kind))
    assert np.corrcoef(decoded.ravel(), rows.ravel())[0, 1] > 0.7


@pytest.mark.parametrize("value", [0, 1, 1e-38, -65504])
@pytest.mark.parametrize("importance", [0, 1, 1e20])
def test_extremes_stay_finite(encoding, value, importance):
    rows = np.full((2, 256), value, np.float32)
    rows[1, 1:] /= 3
    data = encoding.encode(rows, np.full(256, importance, np.float32))
    assert np.isfinite(encoding.decode(data, 256)).all()

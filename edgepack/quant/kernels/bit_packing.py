"""Levels of 2 to 8 bits, packed without gaps: the lowest bits of a byte come first.

Eight levels of b bits fill b bytes exactly, so whatever the width, a row is packed eight at a time.
MLX reads the same bytes as little-endian uint32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import BYTES, INTEGER, READ_BYTES, inner, kernel


@inner
def _pack(levels: NDArray[np.uint8], bits: int, out: NDArray[np.uint8]) -> None:
    for octet in range(levels.size // 8):
        word = np.uint64(0)
        for k in range(8):
            word |= np.uint64(levels[8 * octet + k]) << np.uint64(bits * k)
        for byte in range(bits):
            out[bits * octet + byte] = np.uint8(word >> np.uint64(8 * byte))


@kernel(READ_BYTES, INTEGER, BYTES)
def pack(levels: NDArray[np.uint8], bits: int, out: NDArray[np.uint8]) -> None:
    """levels uint8[n, columns], each below 2^bits -> out uint8[n, columns * bits / 8]."""
    # A width that is known when compiling turns the shifts into constants.
    flat, packed = levels.reshape(-1), out.reshape(-1)
    if bits == 2:
        _pack(flat, 2, packed)
    elif bits == 3:
        _pack(flat, 3, packed)
    elif bits == 4:
        for i in range(packed.size):
            packed[i] = flat[2 * i] | (flat[2 * i + 1] << 4)
    elif bits == 5:
        _pack(flat, 5, packed)
    elif bits == 6:
        _pack(flat, 6, packed)
    else:
        _pack(flat, bits, packed)


@kernel(READ_BYTES, INTEGER, BYTES)
def unpack(packed: NDArray[np.uint8], bits: int, out: NDArray[np.uint8]) -> None:
    """packed uint8[n, columns * bits / 8] -> out uint8[n, columns]."""
    flat, levels = packed.reshape(-1), out.reshape(-1)
    mask = np.uint64((1 << bits) - 1)
    for octet in range(levels.size // 8):
        word = np.uint64(0)
        for byte in range(bits):
            word |= np.uint64(flat[bits * octet + byte]) << np.uint64(8 * byte)
        for k in range(8):
            levels[8 * octet + k] = np.uint8((word >> np.uint64(bits * k)) & mask)

"""Q2_K: 256 weights as 2-bit levels in 16 sub-blocks with 4-bit scales and offsets.

Layout: scales[16] levels[64] d[2] dmin[2]; a byte of scales holds the scale below, the offset
above; weight = (d * scale) * level - (dmin * offset).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.crumbs import get_crumb, put_crumbs
from edgepack.quant.kernels.plain import peak
from edgepack.quant.kernels.scalars import ZERO, get_half, nearest, nearest_between, put_half
from edgepack.quant.kernels.search import fit_affine

_NONE = np.int32(0)
_TOP = np.int32(3)
_LAST = np.float32(15)
_START = np.float32(-0.5)
_TRIALS = 16


@inner
def put_quarter_bytes(
    values: NDArray[np.float32], shift: int, block: NDArray[np.uint8], at: int
) -> None:
    """Write values[16] as 4-bit shares, at bit `shift` of block[0:16], of their maximum / 15."""
    far = peak(values)
    put_half(block, at, far / _LAST)
    if far > ZERO:
        for s in range(16):
            block[s] |= np.uint8(nearest(_LAST / far * values[s]) << shift)


@inner
def get_scales(block: NDArray[np.uint8], s: int) -> tuple[np.float32, np.float32]:
    """(d * scale, dmin * offset) of sub-block s."""
    return (
        get_half(block, 80) * np.float32(block[s] & 15),
        get_half(block, 82) * np.float32(block[s] >> 4),
    )


@inner
def assign_levels(
    x: NDArray[np.float32], block: NDArray[np.uint8], levels: NDArray[np.int8]
) -> None:
    """Nearest levels for the scales as stored; where a stored scale is 0, levels stay."""
    for s in range(16):
        scale, offset = get_scales(block, s)
        if scale == ZERO:
            continue
        for i in range(16 * s, 16 * s + 16):
            levels[i] = nearest_between((x[i] + offset) / scale, _NONE, _TOP)


@encoder
def encode(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """blocks float32[n, 256] -> out uint8[n, 84]."""
    levels, trial = np.empty(256, np.int8), np.empty(16, np.int8)
    weight = np.empty(16, np.float32)
    scales, offsets = np.empty(16, np.float32), np.empty(16, np.float32)
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        for s in range(16):
            part = x[16 * s : 16 * s + 16]
            for i in range(16):
                weight[i] = abs(part[i])
            scales[s], offsets[s] = fit_affine(
                part, weight, levels[16 * s : 16 * s + 16], trial, _TOP, _START, _TRIALS, True
            )
        y[:16] = 0
        put_quarter_bytes(scales, 0, y, 80)
        put_quarter_bytes(offsets, 4, y, 82)
        assign_levels(x, y, levels)
        put_crumbs(levels, 0, y[16:80])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 84] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(16):
            scale, offset = get_scales(y, s)
            for i in range(16 * s, 16 * s + 16):
                x[i] = scale * np.float32(get_crumb(y[16:80], i)) - offset

"""What Q4_K and Q5_K share: 8 sub-blocks of 32 weights, each with a 6-bit scale and offset.

    weight = (d * scale) * level - (dmin * offset)

The 16 six-bit numbers fill 12 bytes: for sub-blocks 0 to 3 scales in bytes 0 to 3 and offsets in 4
to 7; for 4 to 7 the low four bits of both in bytes 8 to 11, the high two bits atop bytes 0 to 7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.plain import peak
from edgepack.quant.kernels.scalars import (
    ZERO,
    get_half,
    nearest,
    nearest_between,
    put_half,
)
from edgepack.quant.kernels.search import fit_affine

_LAST = np.float32(63)
_WIDTH = np.float32(32)
_NONE = np.int32(0)


@inner
def fit_sub_blocks(
    x: NDArray[np.float32],
    levels: NDArray[np.int8],
    scratch: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]],
    top: np.int32,
    start: np.float32,
    trials: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scales and offsets, float32[8] each, of x float32[256]; each weight counts rms + |x|."""
    scales, offsets, weight, trial = scratch
    for s in range(8):
        part = x[32 * s : 32 * s + 32]
        squares = ZERO
        for i in range(32):
            squares += part[i] * part[i]
        rms = np.sqrt(squares / _WIDTH)
        for i in range(32):
            weight[i] = rms + abs(part[i])
        scales[s], offsets[s] = fit_affine(
            part, weight, levels[32 * s : 32 * s + 32], trial, top, start, trials, False
        )
    return scales, offsets


@inner
def put_scales(
    scales: NDArray[np.float32], offsets: NDArray[np.float32], block: NDArray[np.uint8]
) -> None:
    """Write d, dmin and the packed six-bit numbers into block[0:16]."""
    far_scale, far_offset = peak(scales), peak(offsets)
    put_half(block, 0, far_scale / _LAST)
    put_half(block, 2, far_offset / _LAST)
    inverse_scale = _LAST / far_scale if far_scale > ZERO else ZERO
    inverse_offset = _LAST / far_offset if far_offset > ZERO else ZERO
    packed = block[4:16]
    for s in range(8):
        scale = min(63, int(np.uint8(nearest(inverse_scale * scales[s]))))
        offset = min(63, int(np.uint8(nearest(inverse_offset * offsets[s]))))
        if s < 4:
            packed[s] = scale
            packed[s + 4] = offset
        else:
            packed[s + 4] = (scale & 15) | ((offset & 15) << 4)
            packed[s - 4] |= (scale >> 4) << 6
            packed[s] |= (offset >> 4) << 6


@inner
def get_scales(block: NDArray[np.uint8], s: int) -> tuple[np.float32, np.float32]:
    """(d * scale, dmin * offset) of sub-block s."""
    packed = block[4:16]
    if s < 4:
        scale, offset = packed[s] & 63, packed[s + 4] & 63
    else:
        scale = (packed[s + 4] & 15) | ((packed[s - 4] >> 6) << 4)
        offset = (packed[s + 4] >> 4) | ((packed[s] >> 6) << 4)
    return (
        get_half(block, 0) * np.float32(scale),
        get_half(block, 2) * np.float32(offset),
    )


@inner
def assign_levels(
    x: NDArray[np.float32], block: NDArray[np.uint8], top: np.int32, levels: NDArray[np.int8]
) -> None:
    """Nearest levels for the scales as stored; where a stored scale is 0, levels stay."""
    for s in range(8):
        scale, offset = get_scales(block, s)
        if scale == ZERO:
            continue
        for i in range(32 * s, 32 * s + 32):
            levels[i] = nearest_between((x[i] + offset) / scale, _NONE, top)


@inner
def put_nibbles(levels: NDArray[np.int8], out: NDArray[np.uint8]) -> None:
    """Low four bits of levels[256] into out[128]: two neighbouring sub-blocks share 32 bytes."""
    for pair in range(4):
        for i in range(32):
            first, second = levels[64 * pair + i], levels[64 * pair + 32 + i]
            out[32 * pair + i] = (first & 15) | ((second & 15) << 4)


@inner
def get_nibble(packed: NDArray[np.uint8], s: int, i: int) -> np.uint8:
    """Level i of sub-block s out of packed[128]."""
    return np.uint8((packed[32 * (s >> 1) + i] >> (4 * (s & 1))) & 15)

"""One question to Apple's Metal, through ctypes: no binding of it need be installed."""

from __future__ import annotations

_FRAMEWORKS = "/System/Library/Frameworks"


def recommended_working_set() -> int | None:
    """Bytes of the default device's `recommendedMaxWorkingSetSize`, None where there is no Metal.

    https://developer.apple.com/documentation/metal/mtldevice/recommendedmaxworkingsetsize
    """
    import ctypes

    try:
        # A command-line program gets a default device only with CoreGraphics loaded.
        ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")
        metal = ctypes.CDLL(f"{_FRAMEWORKS}/Metal.framework/Metal")
        objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    except OSError:
        return None
    create = metal.MTLCreateSystemDefaultDevice
    create.restype = ctypes.c_void_p
    selector = objc.sel_registerName
    selector.restype, selector.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    device = create()
    if not device:
        return None
    # objc_msgSend takes the called method's own signature, here `uint64_t (id, SEL)`.
    send = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)(
        ("objc_msgSend", objc)
    )
    return int(send(device, selector(b"recommendedMaxWorkingSetSize"))) or None

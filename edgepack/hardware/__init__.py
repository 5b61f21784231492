"""What this machine, or a device profile, offers a model."""

from edgepack.hardware.assembly import assemble
from edgepack.hardware.detection import detect
from edgepack.hardware.devices import profile, profile_text, profiles
from edgepack.hardware.machine import (
    UNKNOWN,
    Accelerator,
    Cpu,
    Figure,
    Hardware,
    Npu,
    Origin,
    Place,
)

__all__ = [
    "UNKNOWN",
    "Accelerator",
    "Cpu",
    "Figure",
    "Hardware",
    "Npu",
    "Origin",
    "Place",
    "assemble",
    "detect",
    "profile",
    "profile_text",
    "profiles",
]

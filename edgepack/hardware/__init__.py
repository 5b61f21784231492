"""What this machine, or a device profile, offers a model."""

from edgepack.hardware.assembly import assemble, is_assembled
from edgepack.hardware.detection import detect
from edgepack.hardware.devices import is_profile, profile, profile_text, profiles
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
    "is_assembled",
    "is_profile",
    "profile",
    "profile_text",
    "profiles",
]

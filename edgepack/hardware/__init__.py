"""What this machine, or a device profile, offers a model."""

from edgepack.hardware.detection import detect
from edgepack.hardware.devices import profile, profiles
from edgepack.hardware.machine import Accelerator, Cpu, Figure, Hardware, Origin, Place

__all__ = [
    "Accelerator",
    "Cpu",
    "Figure",
    "Hardware",
    "Origin",
    "Place",
    "detect",
    "profile",
    "profiles",
]

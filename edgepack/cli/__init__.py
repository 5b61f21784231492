"""The porch: arguments in, results out. The only floor that prints or exits."""

from edgepack.cli.app import main

__all__ = ["main"]

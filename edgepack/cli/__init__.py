"""The porch: arguments in, results out. The only floor that prints or exits."""

import os

# Idle BLAS threads spin for 30 ms by default, on the cores llama.cpp needs next: measured, the
# comparison of reference and artifact takes 3.6 times as long. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

from edgepack.cli.app import main

__all__ = ["main"]

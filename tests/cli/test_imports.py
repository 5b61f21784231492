"""Help and fit stay instant: nothing heavy is imported for them. Traced, not timed."""

import subprocess
import sys

import pytest

HEAVY = ("numba", "llvmlite", "onnx", "onnxruntime", "mlx", "xllamacpp", "torch", "transformers",
         "gguf", "tokenizers", "huggingface_hub", "cpuinfo")  # fmt: skip
TRACE = """
import sys
sys.argv = ["edgepack", *sys.argv[1:]]
from edgepack.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("\\nIMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def imported_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", TRACE, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("IMPORTED")[-1].split())


@pytest.mark.parametrize("arguments", [("--help",), ("pack", "--help"), ("--version",)])
def test_help_imports_nothing_heavy_and_no_numpy(arguments):
    assert not imported_by(*arguments) & {*HEAVY, "numpy", "edgepack.pipeline"}


def test_fit_imports_nothing_heavy(reasoner):
    assert not imported_by("fit", str(reasoner)) & set(HEAVY)


def test_fit_of_a_catalogue_name_imports_no_numpy_either():
    device = ("--device", "mac-mini-m4-16gb")
    found = imported_by("fit", "deepseek-r1-distill-qwen-7b", *device)
    assert "edgepack" in found
    assert not found & {*HEAVY, "numpy"}


def test_the_trace_sees_heavy_imports(tmp_path, reasoner):
    done = imported_by("quantize", str(reasoner), "--scheme", "F16", "-o", str(tmp_path / "out"))
    assert {"numba", "tokenizers"} <= done

"""llama.cpp's own quantizer as a program: SOURCE TARGET FTYPE THREADS."""

import sys

from cyllama.llama import llama_cpp

parameters = llama_cpp.LlamaModelQuantizeParams()
parameters.ftype, parameters.nthread = int(sys.argv[3]), int(sys.argv[4])
llama_cpp.model_quantize(sys.argv[1], sys.argv[2], parameters)

"""llama.cpp's converter on a checkpoint of random weights: `llama_convert.py SCRIPT MODEL OUT`.

SCRIPT is its convert_hf_to_gguf.py, which no package has; its Python needs torch, transformers and
sentencepiece. It knows tokenizers by what they make of a text, and ours is nobody's: it is told a
name. All else is as it comes.
"""

import importlib.util
import sys


def main(script, model, out):
    spec = importlib.util.spec_from_file_location("convert_hf_to_gguf", script)
    converter = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = converter
    sys.argv = [script, model, "--outtype", "bf16", "--outfile", out]
    spec.loader.exec_module(converter)
    converter.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
    converter.main()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Encoders and decoders over plain arrays, compiled.

ggml's encodings have a module each, found by its name, that offers `encode` and `decode` over
blocks. Encodings in planes name theirs. Importing one compiles it, or loads it from the cache: a
second or two the first time. Nothing here knows of tensors, files or models.
"""

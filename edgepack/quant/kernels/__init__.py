"""Encoders and decoders over plain arrays, compiled.

ggml's encodings have a module each, found by its name, that offers `encode` and `decode` over
blocks. Searches run in `lanes`, sixteen blocks at once. Encodings in planes name their modules.
Importing one compiles it, or loads it from the cache: a few seconds the first time. Nothing here
knows of tensors, files or models.
"""

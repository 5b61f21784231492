"""One module per encoding, found by its name; each offers `encode` and `decode` over blocks.

Importing one compiles it, or loads it from the cache: a second or two the first time. Nothing here
knows of tensors, files or models.
"""

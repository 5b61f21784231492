"""Models known by their task: their outputs in onnxruntime against transformers in float32.

texts       documents, as such a model gets them
rows        which outputs a task has, and the vectors that are compared
metrics     distances row by row, and their sums
gates       limits, the verdict
reference   the checkpoint in transformers
comparison  all of it, one text at a time
"""

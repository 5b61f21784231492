"""The tools: encodings, their kernels, and schemes (which tensor gets which encoding)."""

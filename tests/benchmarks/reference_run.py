"""The reference on random ids, in a process of its own: FOLDER DOCUMENTS TOKENS."""

import json
import sys
import time

import numpy as np

from edgepack.fidelity.corpus import Document
from edgepack.fidelity.standard import standard
from edgepack.fidelity.states import user_store
from edgepack.models import open_checkpoint

folder, documents, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
sample = [
    Document(f"d{n}", tuple(map(int, rng.integers(0, 290, tokens))), ("text",) * tokens)
    for n in range(documents)
]
ends = [time.perf_counter()]
standard(
    open_checkpoint(folder),
    sample,
    progress=lambda done, total: ends.append(time.perf_counter()),
    store=user_store(),
)
print(json.dumps({"layers": np.diff(ends).tolist(), "after": time.perf_counter() - ends[-1]}))

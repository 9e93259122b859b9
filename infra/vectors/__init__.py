"""The vector index: which faces of the library are like this one. FAISS is known in this package alone.

Postgres is the truth. An index is a copy of its vectors in two layers: a *snapshot*, files that were written some time ago, and the *delta*,
what the catalogue's log says since, held in memory by every process that searches. So a new face is found by the next search of any process,
publishing an asset writes no index file, and whatever is lost or damaged here is read again from the log.

`layer.py` searches one set of vectors, exactly or through inverted lists; `files.py` writes and reads a snapshot, in a folder and as a
mirror in the object store; `view.py` makes one of the two layers; `index.py` is what others use.
"""

from infra.vectors.index import VectorIndex
from infra.vectors.layer import EXACT_LIMIT, Match

__all__ = ["EXACT_LIMIT", "Match", "VectorIndex"]

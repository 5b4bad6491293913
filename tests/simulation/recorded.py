"""Record of how each schedule played last, as a digest of its log.

A change of the library that alters what happens in a schedule alters its digest. A change that is to alter nothing
must alter none; one that is to alter something is looked at (`make simulate SEED=…` before and after), and recorded.
"""

from collections.abc import Mapping
from itertools import batched
from pathlib import Path

from tests.simulation.mutations import MUTATIONS
from tests.simulation.operator_mutations import OPERATOR_MUTATIONS

# A fault's recorded seed must find nothing without the fault.
_OF_FAULTS = {mutation.seed for mutation in (*MUTATIONS, *OPERATOR_MUTATIONS)}
# Played by `make test`.
PLAYED = sorted({*range(300), *_OF_FAULTS})
# Played by `make nightly`, and by `make simulate` with its defaults.
RECORDED = sorted({*range(2000), *_OF_FAULTS})
_FILE = Path(__file__).with_name("recorded.txt")
_A_LINE = 10


def record(digests: Mapping[int, str]) -> None:
    """Write the digests of schedules, by seed."""
    pairs = (f"{seed}:{digest}" for seed, digest in sorted(digests.items()))
    _FILE.write_text("".join(" ".join(line) + "\n" for line in batched(pairs, _A_LINE, strict=False)))


def changed(digests: Mapping[int, str]) -> list[int]:
    """Return the seeds whose schedules played in another way than recorded. Those without a record are left out."""
    pairs = (pair.partition(":") for pair in _FILE.read_text().split())
    recorded = {int(seed): digest for seed, _, digest in pairs}
    return [seed for seed in sorted(digests) if digests[seed] != recorded.get(seed, digests[seed])]

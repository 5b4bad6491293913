"""Record of how each schedule played last, as a digest of its words.

A change of the library that alters what happens in a schedule alters its digest. A change that is to alter nothing
must alter none; one that is to alter something is looked at (`make simulate SEED=…` before and after), and recorded.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.simulation.mutations import MUTATIONS
from tests.simulation.operator_mutations import OPERATOR_MUTATIONS

# `make nightly` plays many more. A fault's recorded seed must find nothing without the fault.
SEEDS = sorted({*range(300), *(mutation.seed for mutation in (*MUTATIONS, *OPERATOR_MUTATIONS))})
_FILE = Path(__file__).with_name("recorded.txt")


def record(digests: Mapping[int, str]) -> None:
    """Write the digests of schedules, by seed."""
    _FILE.write_text("".join(f"{seed} {digest}\n" for seed, digest in sorted(digests.items())))


def changed(digests: Mapping[int, str]) -> list[int]:
    """Return the seeds whose schedules played in another way than recorded, or have no record."""
    lines = (line.split() for line in _FILE.read_text().splitlines())
    recorded = {int(seed): digest for seed, digest in lines}
    return [seed for seed in sorted(digests) if digests[seed] != recorded.get(seed)]

"""Writes the project's own vectors anew: `uv run python -m tests.vectors.make`. Nothing in it is random."""

from itertools import chain

from tests.vectors.cases import Case, write
from tests.vectors.make_blocks import blocks, certificates, geneses, inclusions, proofs
from tests.vectors.make_content import chunks, codes, grants
from tests.vectors.make_entries import ownerships, rolls
from tests.vectors.make_proofs import state_proofs
from tests.vectors.make_transactions import transactions


def make() -> list[Case]:
    """Every case; the same in every run."""
    kinds = (
        transactions,
        certificates,
        blocks,
        geneses,
        inclusions,
        proofs,
        state_proofs,
        ownerships,
        rolls,
        chunks,
        grants,
        codes,
    )
    return list(chain.from_iterable(kind() for kind in kinds))


if __name__ == "__main__":
    made = make()
    write(made)
    print(f"{len(made)} vectors, {sum(not case.wrong for case in made)} of them valid")

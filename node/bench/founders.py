"""A network of ten validators that runs nowhere: its genesis file, and the keys of all."""

from dataclasses import dataclass
from typing import Final

from node.bench.workload import seed
from protocol.blocks import VERSION, Genesis, Member
from protocol.keys import OpeningKey, SigningKey
from protocol.limits import NetworkLimits

VALIDATORS: Final = 10


@dataclass(frozen=True, slots=True)
class Founders:
    """Identity and vote keys in the order of the genesis file."""

    genesis: Genesis
    issuers: tuple[SigningKey, ...]
    voters: tuple[SigningKey, ...]


def found(*, created_ms: int) -> Founders:
    """Such a network. Keys are hashes of names."""
    issuers = tuple(SigningKey(seed("identity", index)) for index in range(VALIDATORS))
    voters = tuple(SigningKey(seed("vote", index)) for index in range(VALIDATORS))
    members = tuple(
        Member(
            f"clinic-{index}",
            issuers[index].public,
            voters[index].public,
            OpeningKey(seed("enc", "clinic", index)).public,
            (),
        )
        for index in range(VALIDATORS)
    )
    genesis = Genesis(VERSION, "bench", created_ms, bytes(32), NetworkLimits(), members)
    return Founders(genesis, issuers, voters)

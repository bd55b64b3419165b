"""A vote key is rotated so that no crash leaves a clinic without the key that the network counts."""

from pathlib import Path

import pytest

from node import paths
from node.adapters import InlineOffload
from node.keystore import ClinicKeys, NextVoteKey, create_keyfile, load_keyfile
from node.members.vote_keys import VoteKeys
from node.store.votefile import VoteFileOnDisk
from protocol.keys import SigningKey
from tests.sim.entropy import SimEntropy

ENTROPY = SimEntropy("vote keys")
KEYS = ClinicKeys(bytes(32), b"\1" * 32, b"\2" * 32, b"\3" * 32)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    create_keyfile(paths.keyfile(tmp_path), KEYS, None, ENTROPY)
    return tmp_path


def opened(data_dir: Path) -> VoteKeys:
    """As after a start: from what is on the disk."""
    keys = load_keyfile(paths.keyfile(data_dir), ClinicKeys, None)
    return VoteKeys(data_dir, keys, None, entropy=ENTROPY, offload=InlineOffload())


def on_disk(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data_dir.iterdir()))


async def test_a_clinic_that_rotates_nothing_has_one_vote_key(data_dir: Path) -> None:
    assert [key.public for key in opened(data_dir).all()] == [SigningKey(KEYS.vote_seed).public]


async def test_the_next_key_is_on_the_disk_before_anybody_hears_of_it(data_dir: Path) -> None:
    made = await opened(data_dir).make_next()
    again = opened(data_dir)
    assert again.next is not None
    assert again.next.public == made.public
    assert [key.public for key in again.all()] == [again.present.public, made.public]


async def test_the_next_key_has_a_vote_file_of_its_own_before_it_can_vote(data_dir: Path) -> None:
    await opened(data_dir).make_next()
    votes = VoteFileOnDisk(paths.votes(data_dir, 1))
    assert votes.load() is None
    votes.close()


async def test_asking_twice_makes_one_next_key(data_dir: Path) -> None:
    keys = opened(data_dir)
    first, second = await keys.make_next(), await keys.make_next()
    assert first.public == second.public == (await opened(data_dir).make_next()).public


async def test_the_old_key_is_gone_once_the_network_votes_with_the_next(data_dir: Path) -> None:
    keys = opened(data_dir)
    made = await keys.make_next()
    assert await keys.adopt(made.public)
    assert (keys.present.public, keys.next) == (made.public, None)
    assert KEYS.vote_seed not in on_disk(data_dir)
    again = opened(data_dir)
    assert (again.present.public, again.next) == (made.public, None)
    assert again.clinic.generation == 1
    assert again.clinic.identity_seed == KEYS.identity_seed


async def test_nothing_changes_while_the_ledger_names_the_present_key(data_dir: Path) -> None:
    keys = opened(data_dir)
    await keys.make_next()
    before = on_disk(data_dir)
    assert not await keys.adopt(keys.present.public)
    assert on_disk(data_dir) == before


async def test_a_crash_between_the_two_files_leaves_the_next_key_as_the_present_one(data_dir: Path) -> None:
    keys = opened(data_dir)
    made = await keys.make_next()
    left_behind = paths.next_vote_key(data_dir).read_bytes()
    await keys.adopt(made.public)
    paths.next_vote_key(data_dir).write_bytes(left_behind)
    paths.next_vote_key(data_dir).chmod(0o600)
    again = opened(data_dir)
    assert (again.present.public, again.next) == (made.public, None)
    assert (await again.make_next()).public != made.public


async def test_the_next_key_is_kept_under_the_same_passphrase(data_dir: Path) -> None:
    keys = VoteKeys(data_dir, KEYS, b"secret", entropy=ENTROPY, offload=InlineOffload())
    made = await keys.make_next()
    kept = load_keyfile(paths.next_vote_key(data_dir), NextVoteKey, b"secret")
    assert SigningKey(kept.vote_seed).public == made.public
    assert kept.vote_seed not in on_disk(data_dir)

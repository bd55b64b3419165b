"""What a validator signed survives; a vote file that cannot be trusted makes a learner."""

import pytest

from node.chain.journal import VoteJournal
from node.store.memory import MemoryStore, MemoryVoteFile
from protocol.ballot import VoteRecord
from protocol.blocks import NO_BLOCK, Block, BlockHash
from protocol.errors import StorageError
from protocol.keys import PublicKey
from tests.unit.test_finality import BLOCKS, certify

HASH = BlockHash(b"h" * 32)
KEY, OTHER_KEY = PublicKey(b"k" * 33), PublicKey(b"o" * 33)


def record(view: int, epoch: int = 0) -> VoteRecord:
    return VoteRecord(epoch, view, HASH, False, 0, NO_BLOCK)


def test_a_record_and_what_it_rests_on_survive_power_loss() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    certificate = certify(BLOCKS[0].header)
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    assert journal.load(0) is None
    journal.save(record(2), [BLOCKS[1]], [certificate])
    again = VoteJournal(store=store.crash(0), votes=votes.crash(0), key=KEY)
    assert again.load(0) == record(2)
    assert again.candidates(0) == ([BLOCKS[1]], [certificate])
    assert not again.is_lost


def test_a_missing_vote_file_makes_a_learner() -> None:
    journal = VoteJournal(store=MemoryStore(), votes=MemoryVoteFile(lost=True), key=KEY)
    assert journal.load(0) is None
    assert journal.is_lost
    assert VoteJournal(store=MemoryStore(), votes=None, key=KEY).is_lost


def test_a_vote_file_put_back_from_a_copy_is_noticed() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    journal.save(record(1), [], [])
    old = votes.load()
    journal.save(record(2), [], [])
    journal.save(record(3), [], [])
    for content in (old, None):
        restored = VoteJournal(store=store, votes=MemoryVoteFile(content), key=KEY)
        assert restored.load(0) is None
        assert "copy" in restored.loss


def test_a_vote_file_one_record_behind_takes_the_stores_record_as_signed() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    journal.save(record(1), [], [])
    old = votes.load()
    journal.save(record(2), [BLOCKS[0]], [])
    restored = VoteJournal(store=store, votes=MemoryVoteFile(old), key=KEY)
    assert restored.load(0) == record(2)
    assert not restored.is_lost


def test_a_vote_file_two_statements_behind_in_one_view_is_noticed() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    entered = VoteRecord(0, 6, NO_BLOCK, False, 5, HASH)
    journal.save(entered, [], [])
    old = votes.load()
    journal.save(VoteRecord(0, 6, HASH, False, 5, HASH), [], [])
    journal.save(VoteRecord(0, 6, HASH, True, 5, HASH), [], [])
    assert VoteJournal(store=store, votes=MemoryVoteFile(old), key=KEY).load(0) is None


def test_a_store_that_lost_unsynced_records_does_not_hold_the_file_back() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    journal.save(record(1), [BLOCKS[0]], [])
    for view in (2, 3, 4):
        journal.save(record(view), [], [])
    again = VoteJournal(store=store.crash(0), votes=votes.crash(0), key=KEY)
    assert again.load(0) == record(4)
    assert not again.is_lost


def test_a_crash_between_store_and_vote_file_makes_no_learner() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    journal.save(record(1), [], [])
    votes.fail_at(1)
    with pytest.raises(StorageError):
        journal.save(record(2), [BLOCKS[0]], [])
    again = VoteJournal(store=store.crash(store.unsynced), votes=votes.crash(0), key=KEY)
    assert again.load(0) is not None
    assert not again.is_lost


def test_a_record_of_another_epoch_binds_nothing() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.save(record(7, epoch=0), [], [])
    assert VoteJournal(store=store, votes=votes, key=KEY).load(1) is None


def test_candidates_below_a_final_view_are_forgotten() -> None:
    store = MemoryStore()
    journal = VoteJournal(store=store, votes=MemoryVoteFile(), key=KEY)
    kept: list[Block] = BLOCKS[1:]
    journal.save(record(3), BLOCKS, [certify(block.header) for block in BLOCKS])
    journal.forget_through(BLOCKS[0].header.view)
    blocks, certificates = VoteJournal(store=store, votes=MemoryVoteFile(), key=KEY).candidates(0)
    assert blocks == kept
    assert certificates == [certify(block.header) for block in kept]


def test_a_retired_key_stays_retired_whichever_copy_is_left() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    journal.save(record(1), [], [])
    old = votes.copy()
    journal.retire("a copy runs elsewhere")
    for store_left, votes_left in ((store, votes), (MemoryStore(), votes), (store, old)):
        again = VoteJournal(store=store_left.copy(), votes=votes_left.copy(), key=KEY)
        assert again.load(0) is None
        assert again.loss == "a copy runs elsewhere"


def test_what_another_key_signed_says_nothing_about_a_new_key_with_a_file_of_its_own() -> None:
    store = MemoryStore()
    journal = VoteJournal(store=store, votes=MemoryVoteFile(), key=KEY)
    journal.load(0)
    journal.retire("a copy runs elsewhere")
    renewed = VoteJournal(store=store, votes=MemoryVoteFile(), key=OTHER_KEY)
    assert renewed.load(0) is None
    assert not renewed.is_lost


def test_a_store_put_back_from_a_copy_changes_nothing_about_what_was_signed() -> None:
    store, votes = MemoryStore(), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=KEY)
    journal.load(0)
    journal.save(record(1), [], [])
    old = store.copy()
    for view in (2, 3, 4):
        journal.save(record(view), [BLOCKS[0]], [])
    for left in (old, MemoryStore()):
        again = VoteJournal(store=left, votes=votes.copy(), key=KEY)
        assert again.load(0) == record(4)
        assert not again.is_lost

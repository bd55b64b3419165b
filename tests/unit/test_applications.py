"""What an invited clinic keeps, and the block that its chain must hold."""

from pathlib import Path

import pytest

from node.members.application import Application, keep_application, load_application
from node.members.checkpoint import Checkpoint
from node.store.memory import MemoryStore
from protocol.blocks import BlockHash, block_hash
from protocol.errors import Code, StorageError, UserError
from protocol.invitations import sign_invitation
from tests.ledger_world import mint
from tests.unit.test_invitations import INVITATION, INVITER
from tests.unit.test_ledger_store import commit, open_ledger

SIGNED = sign_invitation(INVITATION, INVITER)
FALSE = BlockHash(b"\7" * 32)


def test_an_application_is_found_again_and_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "application"
    assert load_application(path) is None
    keep_application(path, Application(SIGNED, admitted=False))
    keep_application(path, Application(SIGNED, admitted=True))
    found = load_application(path)
    assert found == Application(SIGNED, admitted=True)
    assert found.invitation == INVITATION


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_application_is_told(tmp_path: Path, place: int) -> None:
    path = tmp_path / "application"
    keep_application(path, Application(SIGNED, admitted=False))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_application(path)
    assert caught.value.code is Code.INVITATION


async def test_a_chain_that_holds_the_checkpoint_goes_on() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    Checkpoint(ledger, 0, block_hash(ledger.head.header))
    await commit(ledger, [mint(1)])
    Checkpoint(ledger, 1, block_hash(ledger.head.header))
    await commit(ledger, [mint(2)])


async def test_a_false_chain_stops_the_node_where_it_shows_and_at_every_start() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    Checkpoint(ledger, 2, FALSE)
    await commit(ledger, [mint(1)])
    with pytest.raises(StorageError) as caught:
        await commit(ledger, [mint(2)])
    assert caught.value.code is Code.WRONG_NETWORK
    with pytest.raises(StorageError):
        Checkpoint(open_ledger(store.crash(0)), 2, FALSE)

"""Waiting for room on the disk, for what must be written before the node may go on.

A write that was refused because the disk is nearly full changed nothing, so it can be tried again on the
same handle, and a disk that has room again needs nobody. A write that failed is another matter: what is on
the disk then is not known, so the daemon ends, and the next start takes the same path as after a kill.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from node.ports import Offload
from protocol.errors import Code, StorageError

LOOK_AGAIN_S: Final = 1.0
_log = logging.getLogger(__name__)

T = TypeVar("T")


async def once_there_is_room(offload: Offload, write: Callable[[], T]) -> T:
    """What `write` returns, as soon as the disk takes it.

    Raises:
        StorageError: it failed for another reason than a full disk.
    """
    is_waiting = False
    while True:
        try:
            result = await offload.run(write)
        except StorageError as error:
            if error.code is not Code.STORE_FULL:
                raise
            if not is_waiting:
                _log.error("waiting for room on the disk: %s", error.message)
            is_waiting = True
        else:
            if is_waiting:
                _log.warning("there is room on the disk again")
            return result
        await trio.sleep(LOOK_AGAIN_S)

"""What the process refuses to the rest of the machine: its memory holds keys."""

import ctypes
import logging
import resource

_PR_SET_DUMPABLE = 4
_log = logging.getLogger(__name__)


def forbid_core_dumps() -> None:
    """No core file, and no other process of the same user may look into this one, as far as possible."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        _log.warning("core files are not switched off: %s", error)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        is_done = libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    except (OSError, AttributeError) as error:
        _log.warning("other processes may look into this one: %s", error)
        return
    if not is_done:
        _log.warning("other processes may look into this one: errno %d", ctypes.get_errno())

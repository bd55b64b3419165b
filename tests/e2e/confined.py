"""Runs a program under what the systemd unit forbids and a process can forbid itself, without systemd.

`python -m tests.e2e.confined PROGRAM ARGUMENT…`: no new privileges, no capabilities, no memory that is
writable and executable, and an error for the system calls that the unit's filter leaves out.
"""

import ctypes
import os
import platform
import struct
import sys

_PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 24, 22, 38, 65
_SECCOMP_MODE_FILTER, _ALLOW, _FORBID = 2, 0x7FFF0000, 0x00050001  # the last is EPERM
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_X86_64 = 0xC000003E
# On x86-64: @privileged, @resources, and what @system-service does not hold of what programs may try.
_PRIVILEGED: tuple[int, ...] = (
    92,
    93,
    94,
    260,
    159,
    305,
    227,
    164,
    175,
    313,
    176,
    173,
    172,
    169,
    246,
    320,
    167,
    168,
    163,
)
_PRIVILEGED += (321, 126, 161, 300, 304, 155, 179, 171, 122, 116, 170, 117, 113, 105, 153)
_RESOURCES = (251, 237, 256, 279, 203, 314, 142, 144, 238, 450, 141, 160)
_LEFT_OUT = (165, 166, 101, 272, 308, 135, 298, 323, 310, 311)  # mounts, tracing, namespaces, personality
_CAPABILITIES = 41


def confine() -> None:
    """Confines this process and those it becomes. Raises OSError where the kernel does not."""
    libc = ctypes.CDLL(None, use_errno=True)

    def forbid(*arguments: object) -> None:
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")

    for capability in range(_CAPABILITIES if os.geteuid() == 0 else 0):
        forbid(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    forbid(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if kernel() >= (6, 3):
        forbid(_PR_SET_MDWE, 1, 0, 0, 0)
    if platform.machine() == "x86_64":
        program = _filter((*_PRIVILEGED, *_RESOURCES, *_LEFT_OUT))
        count, code = len(program) // 8, ctypes.create_string_buffer(program)
        told = struct.pack("HxxxxxxP", count, ctypes.addressof(code))
        forbid(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(told), 0, 0)


def _filter(forbidden: tuple[int, ...]) -> bytes:
    """The filter as the kernel reads it: instructions of code, two jumps and a value."""
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(forbidden) + 2, _X86_64), (_LOAD, 0, 0, 0)]
    steps += [(_EQUAL, len(forbidden) - place, 0, number) for place, number in enumerate(forbidden)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _FORBID)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def kernel() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int(minor)


if __name__ == "__main__":
    confine()
    os.execv(sys.argv[1], sys.argv[1:])

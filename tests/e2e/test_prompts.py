"""Ctrl-C where a person is asked: on a terminal, the error begins on a line of its own."""

import os
import subprocess
import sys
from pathlib import Path

from node.demo.stage import environment
from protocol.exits import INTERRUPTED

CTRL_C = b"\x03"
END_S = 60


def test_ctrl_c_at_the_passphrase_ends_in_two_clean_lines(tmp_path: Path) -> None:
    home = tmp_path / "clinic"
    program = [sys.executable, "-P", "-m", "cli.main", "init", "--data-dir", str(home), "--name", "a"]
    program += ["--listen", "/ip4/127.0.0.1/tcp/4001"]
    terminal, far_end = os.openpty()
    # The first terminal that the leader of a session opens is the one that presses its Ctrl-C.
    leader = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(far_end)]
    asking = subprocess.Popen([*leader, *program], env=environment(), start_new_session=True)
    shown = b""
    while b"passphrase: " not in shown:
        shown += os.read(terminal, 4096)
    os.close(far_end)  # not before the program has it open: nobody would, and reading would end
    os.write(terminal, CTRL_C)
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:  # how a terminal says that nobody has it open any more
        pass
    os.close(terminal)
    assert asking.wait(END_S) == INTERRUPTED
    lines = [line for line in shown.decode().splitlines() if line]
    assert [line[:6] for line in lines[-2:]] == ["error:", "hint: "], shown
    assert not home.exists()

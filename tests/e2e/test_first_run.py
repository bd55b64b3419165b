"""The README's way from nothing to a shared record, as it is written there."""

import re
import subprocess
import sys
from pathlib import Path

from node.demo.stage import environment, free_ports

README = Path(__file__).parents[2] / "README.md"
HEADING = "## From nothing to a shared record"
PATIENCE_S = 300.0
# However far it came, no daemon outlives the test.
STOP_ALL = "trap 'for node in north south me; do chartmesh stop --data-dir $node; done || true' ERR\n"


def test_what_the_readme_says_of_a_first_run_is_so(tmp_path: Path) -> None:
    _, _, section = README.read_text().partition(HEADING)
    found = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert found is not None
    script = found[1]
    for written, free in zip(("4101", "4102"), free_ports(2), strict=True):
        assert written in script
        script = script.replace(written, str(free))
    env = environment()
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euE", "-o", "pipefail", "-c", STOP_ALL + script],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Dear Dr. B, the knee is healing." in done.stdout
    assert re.search(r"south +dr\.b +TREAT .* served ", done.stdout), done.stdout
    assert "stopped at 2 of 2 clinics" in done.stdout

"""Benches: what this machine does with chartmesh, each figure beside what limits it, from the same run.

    python -P -m node.bench NAME [--quick] [--json] [--plot FILE]

Only ratios of one run may be compared between machines, so figure and limit are taken in turn (A B A B)
and the load of the machine is printed with them. Nothing here is imported by the daemon.
"""

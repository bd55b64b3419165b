"""The daemon: services over ports (`node.ports`), and the adapters behind them.

A service takes its ports and other services as arguments and has `run(*, task_status)`; only `app`, the
composition root, knows which adapter is behind a port. The simulator in the tests runs the same services.
"""

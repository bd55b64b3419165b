"""The control door: a Unix socket for the administrator or the patient on this machine, and its answers."""

"""Backups of a node: made by the running daemon, verified and restored without one.

archive   what a backup is on disk: a manifest, one file of entries for each database, and small files
create    a consistent copy of the databases while the node goes on
verify    every hash, and that the ledger and the audit log hold together
restore   a data directory from a backup: all but the vote file, so that the node learns only
"""

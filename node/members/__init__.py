"""Membership beside the ledger: invitations, changes that wait for approvals, evidence, suspension."""

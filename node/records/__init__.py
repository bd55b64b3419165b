"""A clinic's part in records: ciphertext kept, pushed and served; accesses decided and written down.

vault, vault_import           ciphertext on the disk
gate, serving, pacing         who is served, and one refusal for all others
audit_log, audit_chain, denial_tally, audit_heads, audit_door
                              what is written before anything leaves, posted, and told to owners
holders, fetching, fetch_run, runs, loopback
                              copies to other clinics, and fetching from them
grants_inbox, issued          what patients allow this clinic, and what it issued
issuing, reading, record_views, access_views, audit_views, ids
                              the answers to an admin's commands
services                      all of them wired together
"""

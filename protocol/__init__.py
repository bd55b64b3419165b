"""The rules of chartmesh, pure: bytes in, decisions out. I/O, clocks and randomness are arguments.

In reading order, each resting on those before:

errors · limits · codec     what can go wrong, how much of anything, one encoding for every value
keys · merkle · statemap    signatures and sealed boxes, RFC 9162 trees, the map whose root is the state
transactions                mint, grant, revoke, transfer, rotate, erase, audit head: signed bytes, verified
blocks · finality           headers, certificates, committees, the genesis file; what shows a block final
membership                  the transactions that change who is a member and who votes
state · roster · ledger · chain
                            the ledger's entries, the rule of each transaction, blocks built and executed
messages                    what peers say to each other, one module a protocol
ballot · tally · certificates · pace · step · consensus
                            Simplex: what a validator may sign, counting, what allows what, the machine
mempool · tree              what waits, and blocks above the newest final one
purposes · grants · access  HL7 purposes, what a patient allows, and the one function that decides
blobs · placement · records ciphertext in verified chunks, who holds it, what kind of record it is
study                       many files as one record, so that one can be had without the rest
wallet · codes · armour     a patient's keys from 24 words, receive codes, text for files people pass on
audit                       the chained record of who read what
control · exits             the contract between the CLI and the daemon, and its exit statuses
"""

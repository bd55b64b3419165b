"""One node's part in the ledger: order, finality, catch-up, gossip, and the gateway for light clients.

ledger        the final chain on the store, and the state after it
submissions   transactions on their way in; checking: their signatures; denials: revocations at sight
journal       what this validator signed; consensus: the service that drives Simplex
sync, gossip  what makes a node catch up, and what makes it fast
guide         whom a newcomer follows before it knows a present member
clockcheck    whether the wall clock agrees with the members'
gateway       what is answered to light clients
services      all of them wired together
"""

"""The patient's side: headers it verified, the wallet, and the answers to `chartmesh my …`."""

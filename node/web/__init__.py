"""The page: what a person does with this node in a browser on the same machine.

door       opened by `chartmesh open`: one-use links, and the server behind them
listening  HTTP connections, each under a guard: a bad client costs itself its connection
gate       who may come in at all: host, origin, session, and the headers of every answer
sessions   links, sessions and their ends
site       what there is under which address
asking     requests to the node: the same ones that the command line sends

Nothing here decides about a record. Every answer is that of the control socket, as text.
"""

"""The parsers' program: looks into records that others made, and is the only one that does so in depth.

`python -P -m node.parsers` reads from its standard input, writes to its standard output, and limits its
own memory and time first: a file that would break or fill a parser ends this program and no other.
Nothing it says decides about access, and the record stays the bytes that came in.
"""

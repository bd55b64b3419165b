"""The command line: talks to the daemon's control socket and to nothing else.

main       the command tree, and how every error becomes two lines and an exit status
settings   the options that every command takes, and where the node's directory is
client     one exchange over the control socket
launch     starting and stopping the daemon's program
values     the types of arguments: ids, durations, purposes, dates
files      record files in and out, never half-written
render     text for people
and one file for each group of commands
"""

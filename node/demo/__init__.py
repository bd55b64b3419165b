"""`chartmesh demo`: four clinics and one patient on this machine, played through the real programs.

stage     the actors: their directories, their daemons as processes, their commands through the CLI
story     what happens, step by step, and what must hold after each
__main__  plays the story and tells it
"""

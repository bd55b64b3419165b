"""Bugs to plant, one by one, into a copy of the source, as patches.

Above its diff a patch says in words what the bug is, which test finds it (that test passes without it),
and words of which that test's report then holds one. A patch that no longer applies fails its test:
whoever changes the code says here what the same mistake would look like now. A validator that hears its
own key say what it does not remember retires, so some mistakes show as that, before they do harm.
"""

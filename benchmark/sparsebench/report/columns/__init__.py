"""The columns of ``leaderboard.csv`` before those of the tasks; each is declared by one object, found here.

Others come from entry points and from files, and are written where they are asked for.
"""

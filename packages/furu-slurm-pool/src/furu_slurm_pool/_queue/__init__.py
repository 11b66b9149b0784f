"""The files by which a controller and its workers talk: tasks, reports, heartbeats, orders.

Of two processes that move one file, one succeeds. What is trusted are listings, and names that nobody
here has looked up before: a network filesystem may go on for a minute to deny that a name exists which
was asked for too early.
"""

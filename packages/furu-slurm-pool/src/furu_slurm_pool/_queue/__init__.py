"""The files by which a controller and its workers communicate: tasks, reports, heartbeats, orders.

When two processes move one file, one of them succeeds. Only listings are trusted, and names that this
process has not looked up before: a network filesystem may go on for a minute to report that a name does
not exist, if it was looked up too early.
"""

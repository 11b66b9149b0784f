"""Processes that compute nodes for another one, and their watchdog.

`NodeProcess` is the one way in which furu computes a node in another process: for worker processes on
this machine, for the jobs of a scheduler, and for the workers of frameworks.

- `_node_process` has the handle that a parent holds: it gives orders, reports what became of them, and
  interrupts, kills and replaces the process.
- `_child_process` is the operating system's side of that: connection, end, exit status; how one is
  forked, and what its end is called. `_origin` starts a new interpreter instead, and says what that is
  to be like.
- `_messages` is what both sides say to each other.
- `_node_server` is the other side: it computes.
- `_watchdog` kills what is left when a parent could not; `_watchdog_main` is its process.
"""

"""Processes that compute nodes for a parent process, and their watchdog.

`NodeProcess` is the only way in which furu computes a node in another process: for worker processes
on this machine, for the jobs of a scheduler, and for the workers of frameworks.

- `_node_process` has the parent's handle: it sends orders, reports their results, and interrupts,
  kills and replaces the process.
- `_child_process` handles the operating system's side of that: fork, connection, end, exit status.
  `_origin` describes a new interpreter, and starts it.
- `_messages` has the messages between parent and process.
- `_node_server` runs in the process: it computes.
- `_watchdog` kills the processes of a parent that was killed; `_watchdog_main` is its process.
"""

"""Why a node is new, how two differ, and which results are stale: configs, code and dependencies compared."""

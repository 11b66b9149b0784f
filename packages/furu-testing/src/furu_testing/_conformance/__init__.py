"""The conformance suite for executors, a module for each kind of promise."""

"""Chaos: a run on a real cluster of its own, while whatever can be killed is killed.

`make chaos` runs it, ``make chaos ARGS="--seed 7"`` repeats one; see `chaos.run`.
"""

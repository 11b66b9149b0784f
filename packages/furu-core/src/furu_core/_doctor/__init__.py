"""The checks of `furu doctor`: whether this place is fit for furu, and what is wrong with it.

A check yields results one after the other; it changes nothing but the folder in which it tries things, and
imports no code of a user. What another distribution checks is a function in the entry-point group `furu.checks`.
"""

"""Result values as files, in open formats where one gives the value back exactly.

A result becomes ``result.json``, with arrays, tables and large bytes in files beside it; or, as a
whole, one file of such a format; or, where none of them gives it back exactly, ``result.pickle``.
"""

"""Fuzzing of everything that reads a stranger's bytes on the host: `make fuzz`, and a few seconds of it in the tests.

Whatever the bytes are, a reader gives a value or raises one of `targets.ALLOWED`, soon, with a message of one line.
"""

"""The gate: instructions, system calls and bytes of one event, held to a baseline. docs/gate.md explains it.

The workers, which are measured, import this package as well. So nothing is imported here.
"""

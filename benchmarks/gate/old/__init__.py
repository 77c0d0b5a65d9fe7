"""The gate of the old programs: what an event costs on cyncore and on the old modules. docs/gate.md explains it.

The workers, which are measured, import this package as well. So nothing is imported here.
"""

"""Old programs: patterns of real ones, written for asyncore and asynchat, on the modules that have these names.

`python -m benchmarks old` measures each on the old modules and on cyncore's, with a client in another process;
`python -m benchmarks old-gate` counts what each costs, with requests that wait already or follow an answer.

The worker decides which modules have the names, and imports the programs after that. So nothing is imported here.
"""

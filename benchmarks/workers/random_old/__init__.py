"""Random old programs: an echo for asyncore and asynchat, whose traits are drawn from a seed.

`python -m benchmarks random-old` runs each on the old modules and on cyncore's, with a client in another process.

The worker decides which modules have the names, and imports the program after that. So nothing is imported here.
"""

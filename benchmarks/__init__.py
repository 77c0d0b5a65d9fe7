"""Benchmarks of cyncore, its peers and a raw C epoll server, side by side: `python -m benchmarks` (see README.md)."""

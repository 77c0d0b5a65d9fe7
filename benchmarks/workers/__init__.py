"""Workers: programs that measure themselves in a process of their own, and print one line of JSON."""

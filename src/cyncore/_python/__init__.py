# SPDX-License-Identifier: MIT
"""The engine in plain Python: where nothing is compiled, and what the compiled one is compared with in the tests.

The files are named for the same nouns as those of the compiled engine. Three more are needed here: `maps` (which loop
serves which map), `slot` (an entry of a map, which C keeps in csrc's poller and in the channel) and `turn` (which
thread runs the loop).
"""

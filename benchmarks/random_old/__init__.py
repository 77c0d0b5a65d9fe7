"""The judgement of random old programs: whether one is slower on cyncore than on the old modules. See docs/gate.md."""

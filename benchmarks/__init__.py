"""Benchmarks: freqd against peers, plain references and the machine's limits, all measured in the same run."""

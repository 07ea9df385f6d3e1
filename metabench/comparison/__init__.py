"""Records against each other: pairs, ranks, curves over shots, suites, sweeps."""

"""Cases, scorers and made-up episodes of the conformance checks."""

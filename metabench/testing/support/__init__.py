"""What the conformance checks build and feed."""

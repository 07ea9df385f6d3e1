"""metabench: few-shot and meta-learning benchmarks whose numbers can be checked."""

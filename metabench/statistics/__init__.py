"""Statistics of evaluation: intervals, comparisons, ranks, stopping."""

"""Transfer: what is learned in an episode is a classifier on frozen features."""

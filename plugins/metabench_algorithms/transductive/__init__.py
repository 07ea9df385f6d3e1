"""Transductive methods: all queries of an episode are classified together, on pre-trained features."""

"""Scoring episodes, labelling new items, and finding where a run goes wrong."""

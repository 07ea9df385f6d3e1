"""Scoring episodes, labelling new images, and analysing errors."""

"""Networks: base classes, adaptation, normalisation, checkpoints, embedding."""

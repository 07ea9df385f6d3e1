"""The conformance kit: what every plugin must satisfy for its numbers to be comparable.

``metabench check NAME`` runs it, or in a plugin's own tests::

    from metabench.api import AlgorithmConformance

    class TestMine(AlgorithmConformance):
        algorithm = "mine"

Importing this package loads neither torch nor pytest: pytest loads its plugin half in every run.
"""

"""Solvers of many small problems at once: ridge and logistic regression, support vector machines, linear systems."""

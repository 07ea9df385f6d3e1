"""Conformance checks, one module for each kind of plugin or property."""

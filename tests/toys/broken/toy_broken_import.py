"""A plugin whose own dependency is missing."""

import toy_dependency_that_is_not_installed  # noqa: F401

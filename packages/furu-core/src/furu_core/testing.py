"""Empty: the kit for testing executors is in the distribution furu-testing."""

raise ModuleNotFoundError(
    "furu_core.testing is now the distribution furu-testing: `pip install furu-testing` and import "
    "the same names from furu_testing (the suite's nodes from furu_testing.nodes)",
    name=__name__,
)

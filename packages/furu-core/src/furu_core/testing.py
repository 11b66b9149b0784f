"""Nothing is left here: what tests of executors are written with is the distribution furu-testing."""

raise ModuleNotFoundError(
    "furu_core.testing is now the distribution furu-testing: `pip install furu-testing` and import "
    "the same names from furu_testing (the suite's nodes from furu_testing.nodes)",
    name=__name__,
)

"""A home folder on which apps can be opened and closed, as for the tests of jobs."""

from tests.jobs.conftest import bench

__all__ = ["bench"]

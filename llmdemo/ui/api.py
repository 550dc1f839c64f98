"""Named endpoints."""


def add_endpoints(services):
    pass

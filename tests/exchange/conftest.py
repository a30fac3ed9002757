from fakes.exchange_fixtures import bench, venue  # noqa: F401 - fixtures

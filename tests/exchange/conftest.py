from scalpdesk_testing.kit.exchange_fixtures import bench, venue  # noqa: F401 - fixtures

from scalpdesk_testing.kit.exchange import bench, venue  # noqa: F401 - fixtures

"""Routes of the dashboard, one file for each subject; a route says which role it needs."""

"""A venue without a wire: accounts, matching, expiry."""

"""What the desk holds, what it is worth and why that changed."""

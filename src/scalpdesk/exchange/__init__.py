"""The simulated exchange as a server: venues' own protocols over one broker and one market."""

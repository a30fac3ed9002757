"""Strategy folders: loaded here, or in a process of their own with a limit of time and memory."""

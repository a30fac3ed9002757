"""The programs beside the 0DTE strategy, as its page starts them."""

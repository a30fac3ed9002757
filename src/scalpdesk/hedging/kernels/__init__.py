"""Compiled code of hedging: the rules that the desk's bands and the band lab share, and the lab's loops."""

"""The vocabulary: pure values, parsed at the edge, whose ``str()`` is canonical and round-trips."""

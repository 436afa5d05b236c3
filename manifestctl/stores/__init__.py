"""Where images live, behind one interface."""

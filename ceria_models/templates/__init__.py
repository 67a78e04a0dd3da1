"""Pages that this package writes."""

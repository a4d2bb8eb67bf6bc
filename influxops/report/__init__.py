"""What a run tells, the view that all faces share, and its JSON."""

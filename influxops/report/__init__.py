"""The report of a run, the view that all front ends share, and its JSON."""

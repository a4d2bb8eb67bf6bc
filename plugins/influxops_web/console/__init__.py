"""The console: pages for people, with their templates and what they look like."""

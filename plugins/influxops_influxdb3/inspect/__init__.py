"""Reading what a server holds: databases, their tables, and how much was written when."""

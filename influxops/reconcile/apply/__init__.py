"""Carrying a plan out: claims in the ledger, changes at targets, and the check of both."""

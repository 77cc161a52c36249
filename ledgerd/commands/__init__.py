"""Commands of `ledgerd` that are more than a line in `__main__`: each imports what it needs."""

"""`ledgerd doctor`: what is wrong with a node and its machine, found without changing either."""

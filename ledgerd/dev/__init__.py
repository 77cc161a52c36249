"""`ledgerd dev`: a border to try things on."""

"""A regulator's copy of a ledger: follows a node, checks it all, and answers as the node does."""

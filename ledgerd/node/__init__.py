"""One node: what lies on its disk, the parts made of that, and what follows from what."""

"""Proof that training learns: a small world of which everything is known, filmed and learned."""

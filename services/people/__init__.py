"""Owns who is who, the org tree and who is tied to whom; tells each employee's log what a decision about them needs."""

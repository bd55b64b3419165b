"""What peers say to each other, one module a protocol of design §8: every type, shape and limit."""

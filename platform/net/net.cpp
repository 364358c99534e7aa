// Replaced by the real parts.

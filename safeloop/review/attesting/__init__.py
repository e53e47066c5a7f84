"""A reviewer's statement: made, signed, and judged."""

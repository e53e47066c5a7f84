"""Did the loop keep its word? The audit's second question, answered from rows alone."""

from safeloop.review.auditing.word.word import Word

__all__ = ["Word"]

"""Tokenizers that are as greedy as one can be."""

import unicodedata


def texts_in(value):
    """Every text that a model could be shown of a value, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts_in(part)]
    return [text for part in value for text in texts_in(part)] if isinstance(value, list) else []


def greedy_bytes(text):
    """Bytes of the text as it is, or in its compatibility form: whichever are more."""
    return max(len(form.encode("utf-8", "surrogatepass")) for form in (text, unicodedata.normalize("NFKC", text)))


def greedy_tokens(*values, bytes_per_token=1):
    """Tokens of all texts in the values, each text rounded up."""
    return sum(-(-greedy_bytes(text) // bytes_per_token) for value in values for text in texts_in(value))

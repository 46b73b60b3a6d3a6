"""What every model needs done to a text before it is embedded."""


def replace_surrogates(text: str) -> str:
    """Put a question mark for each lone surrogate, which no tokenizer and no remote model takes."""
    return text.encode("utf-8", "replace").decode("utf-8")

"""The language of the loop: nouns, plan grammar, faults, catalogue. Standard library only (markdown-it-py inside one function)."""

"""Which of my model variants is better, by how much, and can I make that figure again?

    >>> import variantlab
    >>> variantlab.__version__
    '0.1.0'

Importing it loads nothing but this.
"""

from pipeline import __version__

__all__ = ["__version__"]

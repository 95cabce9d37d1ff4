"""Which galaxies look like this one: an index of features beside their table, searched exactly or nearly so.

Example:
    >>> from zoobot.similarity import open_index
    >>> index = open_index("results/features")  # doctest: +SKIP
    >>> index.like_galaxies(["J100005.28+152828.6"], 20).head(2)  # doctest: +SKIP
                     query  rank               id_str  similarity
    0  J100005.28+152828.6     1  J143520.15+082339.4    0.971326
    1  J100005.28+152828.6     2  J092241.79+361127.7    0.969107
"""

from zoobot.similarity.index import SimilarityIndex, open_index

__all__ = ["SimilarityIndex", "open_index"]

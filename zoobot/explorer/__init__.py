"""A page to look through galaxies and what a model says of them: one HTML file, without server or network.

`charts` says what is shown of each task's predictions, `thumbnails` and `neighbours` add pictures and
look-alikes, and `page_file` puts it all, safely, into the HTML, CSS and JavaScript in the folder `page`.
"""

from zoobot.explorer.charts import describe_predictions
from zoobot.explorer.contents import (
    Bar,
    Chart,
    Column,
    Contents,
    Described,
    Neighbours,
    Text,
    Thumbnails,
    find_neighbours,
    make_thumbnails,
)
from zoobot.explorer.page_file import write_page

__all__ = [
    "Bar",
    "Chart",
    "Column",
    "Contents",
    "Described",
    "Neighbours",
    "Text",
    "Thumbnails",
    "describe_predictions",
    "find_neighbours",
    "make_thumbnails",
    "write_page",
]

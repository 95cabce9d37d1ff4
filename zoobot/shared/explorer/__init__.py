"""A page to look through galaxies and what a model says of them: one HTML file, without server or network.

`charts` says what is shown of each task's predictions, `thumbnails` and `neighbours` add pictures and
look-alikes, and `page_file` puts it all, safely, into the HTML, CSS and JavaScript in the folder `page`.
"""

from zoobot.shared.explorer.charts import describe_predictions
from zoobot.shared.explorer.contents import Bar, Chart, Column, Contents, Described, Text
from zoobot.shared.explorer.neighbours import Neighbours, find_neighbours
from zoobot.shared.explorer.page_file import write_page
from zoobot.shared.explorer.thumbnails import Thumbnails, make_thumbnails

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

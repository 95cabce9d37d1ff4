"""Tables of predictions: their layout and formats, a writer, and folders of parts."""

"""Raw videos -> kept, cut, captioned, bucketed clips."""

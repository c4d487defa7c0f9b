"""The figures of a report: panels, series and labels, and what is drawn with them."""

"""A trained network out of a results folder, as files that others can use, and its use on images."""

"""The watch of a hosted model: a fixed number of draws each night, judged over all nights."""

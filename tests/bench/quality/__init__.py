"""The quality benchmark: does a search find what answers, does it know when nothing does, and as of when."""

"""The storage engine under its promised name."""

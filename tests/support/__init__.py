"""What tests share: a real daemon in a child process."""

"""What is known about users and items."""

"""What is printed and logged: the console, and the log of a node."""

"""What a config class is: its fields and the values that they take, its name, its hash."""

"""Config objects and values in other forms: JSON, pickles, Python text, graph files."""

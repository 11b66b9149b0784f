"""What other distributions bring: found among their entry points, and whether they fit."""

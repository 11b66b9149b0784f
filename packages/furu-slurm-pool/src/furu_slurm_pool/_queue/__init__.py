"""What a controller and its workers tell each other, by files in the run's folder: tasks, reports, heartbeats, orders."""

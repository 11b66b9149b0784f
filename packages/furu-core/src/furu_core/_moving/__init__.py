"""Results that go to another store, and come from one."""

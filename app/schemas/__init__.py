"""What requests and replies look like: types, bounds, and rules between fields."""

"""What `scripts.drill` does to the three scripts, a module for each kind of fault."""

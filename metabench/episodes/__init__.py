"""Episodes addressed by index, their protocols, and what is counted of them."""

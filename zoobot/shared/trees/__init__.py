"""Decision trees of volunteers' questions, and what votes and models say along them."""

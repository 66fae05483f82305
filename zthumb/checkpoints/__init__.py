"""How weights are named in files: diffusers' names, and those that models were published under."""

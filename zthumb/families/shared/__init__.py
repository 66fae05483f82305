"""What several model families have in common; each family is a module beside this folder."""

"""The miniature of each model family: the real classes at small sizes, with what training needs of them. One module each."""

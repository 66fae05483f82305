"""Images and captions as a person lays them out, and the checked data set made from them."""

"""From raw images and captions to the checked, prepared data set."""

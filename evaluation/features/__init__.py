"""What is compared of images: extracted once, by extractors that are plugins."""

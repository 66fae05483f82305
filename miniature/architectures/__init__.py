"""The miniature of each model family: its real classes at small sizes, as the denoiser's training sees them. One module each."""

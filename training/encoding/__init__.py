"""Images and captions → what the denoiser takes, made once and kept."""

"""What AUTOMATIC1111's web UI has made usual: its prompts and the parameters in its images."""

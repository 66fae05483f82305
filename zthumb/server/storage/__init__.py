"""Images, their parameters and jobs, kept in the data folder."""

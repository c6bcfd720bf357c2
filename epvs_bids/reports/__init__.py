"""Pages, figures and the rating aid."""

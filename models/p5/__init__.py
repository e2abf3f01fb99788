"""P5: one text-to-text model for rating, next items, explanations, reviews and direct recommendation."""

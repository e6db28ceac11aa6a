"""Results that are kept: written without texts, merged, verified against their predictions, and compared."""
